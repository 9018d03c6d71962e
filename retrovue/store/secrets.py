"""The secrets of sources as the catalogue keeps them: plain, encrypted, or as a reference to where they are read.

A referenced secret is read once in each run. An encrypted one needs a key from a file outside of the database, so that
neither a dump nor the server's log holds a secret.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from retrovue.core.config import KEY_FILE
from retrovue.core.errors import RequestError
from retrovue.core.model import Secret
from retrovue.core.text import quoted
from retrovue.store.embedded import default_home

LONGEST_SECRET = 64 * 1024
"""The most bytes of a file that holds a secret."""
_DIRECTORY_VARIABLE = "CREDENTIALS_DIRECTORY"
"""The environment variable with the directory in which systemd puts the credentials of a service."""
_SEALED = "encrypted"
_INSTALL = "Install it: pip install 'retrovue[encryption]'."


class SecretReference(Secret):
    """A secret that is kept as a reference, and read once in each run."""

    __slots__ = ("_read", "kind", "name")

    KINDS: ClassVar[Mapping[str, str]] = {
        "file": "a file, by its absolute path, such as a secret of a container in /run/secrets",
        "env": "a variable of the environment",
        "credential": "a credential that systemd gives to a service (LoadCredential=)",
    }

    def __init__(self, kind: str, name: str) -> None:
        """``kind`` is one of ``KINDS``, ``name`` the path or name.

        Raises RequestError for a name that the kind can't have.
        """
        super().__init__("")
        self.kind, self.name = kind, name
        self._read: Secret | None = None
        problem = None
        if kind not in self.KINDS:
            problem = f"{quoted(kind)} is none of {', '.join(self.KINDS)}"
        elif not name or not name.isprintable():
            problem = "it has no name that can be used"
        elif kind == "file" and not name.startswith("/"):
            problem = f"{quoted(name)} isn't an absolute path"
        elif kind == "credential" and "/" in name:
            problem = f"{quoted(name)} isn't the name of a credential"
        if problem is not None:
            raise RequestError(
                f"The reference to a secret can't be used: {problem}.",
                code="bad_secret_reference",
                hint="Give file:/ABSOLUTE/PATH, env:NAME or credential:NAME.",
            )

    @classmethod
    def parse(cls, text: str) -> "SecretReference | None":
        """Parse a reference such as ``env:PLEX_TOKEN``; None for a text that isn't one. Raises RequestError."""
        kind, colon, name = text.partition(":")
        return cls(kind, name) if colon and kind in cls.KINDS else None

    def resolved(self) -> Secret:
        """Read the secret if it hasn't been read. Raises RequestError with code ``secret_unreadable``."""
        if self._read is None:
            text = self._contents().strip()
            if not text or not text.isprintable() or " " in text:
                raise self._unreadable("it is empty" if not text else "it isn't one word")
            self._read = Secret(text)
        return self._read

    def reveal(self) -> str:
        """Return the string; it is read if necessary."""
        return self.resolved().reveal()

    def forms(self) -> tuple[str, ...]:
        """Return the forms in which the string may occur in other text; none before it is read."""
        return () if self._read is None else self._read.forms()

    @property
    def kept(self) -> tuple[str, str | None]:
        """The kind of the reference, and its name."""
        return self.kind, self.name

    def _contents(self) -> str:
        if self.kind == "env":
            value = os.environ.get(self.name)
            if value is None:
                raise self._unreadable("the variable isn't set")
            return value
        path = self.name
        if self.kind == "credential":
            directory = os.environ.get(_DIRECTORY_VARIABLE)
            if directory is None:
                raise self._unreadable(f"{_DIRECTORY_VARIABLE} isn't set: systemd sets it for a service only")
            path = f"{directory}/{self.name}"
        try:
            return _small_file(Path(path))
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "it isn't a small file of UTF-8"
            raise self._unreadable(reason) from exc

    def _unreadable(self, reason: str) -> RequestError:
        return RequestError(
            f"A secret can't be read from {self.kind} {quoted(self.name)}: {reason}.",
            code="secret_unreadable",
            hint="Make it readable for RetroVue's account, or name another place with `retrovue source update`.",
            context={"kind": self.kind, "name": self.name},
        )

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretReference) and self.kept == other.kept

    def __hash__(self) -> int:
        return hash(self.kept)


class SealedSecret(Secret):
    """A secret that the catalogue keeps encrypted."""

    __slots__ = ("_opened", "text")

    def __init__(self, text: str) -> None:
        """``text`` is the encrypted form."""
        super().__init__("")
        self.text = text
        self._opened: Secret | None = None

    def resolved(self) -> Secret:
        """Decrypt the secret. Raises RequestError with code ``secret_key_missing`` if no key of the file fits."""
        if self._opened is None:
            self._opened = Secret(_open(self.text))
        return self._opened

    def reveal(self) -> str:
        """Return the string; it is decrypted if necessary."""
        return self.resolved().reveal()

    def forms(self) -> tuple[str, ...]:
        """Return the forms in which the string may occur in other text; none before it is decrypted."""
        return () if self._opened is None else self._opened.forms()

    @property
    def kept(self) -> tuple[str, str | None]:
        """``encrypted``, without a name."""
        return _SEALED, None

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SealedSecret) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


def loaded_secret(value: object) -> Secret:
    """Make a secret from what the catalogue keeps. Reads and decrypts nothing."""
    if isinstance(value, Mapping):
        ((kind, text),) = value.items()
        return SealedSecret(str(text)) if kind == _SEALED else SecretReference(str(kind), str(text))
    return Secret(str(value))


def kept_secret(secret: Secret) -> Any:
    """Return what the catalogue keeps of a secret: it is encrypted if there is a key.

    Raises RequestError if a key exists and can't be used.
    """
    kind, name = secret.kept
    if isinstance(secret, SealedSecret):
        return {_SEALED: secret.text}
    if name is not None:
        return {kind: name}
    return {_SEALED: seal(secret)} if has_key() else secret.reveal()


def key_file() -> Path:
    """Return the path of the key file: RETROVUE_KEY_FILE, or ``secrets.key`` in the home."""
    given = os.environ.get(KEY_FILE)
    return Path(given) if given else default_home(os.environ) / "secrets.key"


def has_key() -> bool:
    """Return whether there is a key file. Raises RequestError if that can't be found out."""
    if not os.environ.get(KEY_FILE):
        try:
            default_home(os.environ)
        except RequestError:
            return False  # With an operator's own server the home may be unusable; then it holds no key.
    path = key_file()
    try:
        return path.exists()
    except (OSError, ValueError) as exc:
        raise _bad_key_file(path, getattr(exc, "strerror", None) or "it is no path") from exc


def add_key() -> Path:
    """Make a key, put it first in the key file, and return the file's path. Raises RequestError."""
    fernet = _fernet()
    path = key_file()
    keys = _keys(path) if has_key() else []
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write("".join(f"{key}\n" for key in [fernet.Fernet.generate_key().decode(), *keys]))
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except OSError as exc:
        raise _bad_key_file(path, exc.strerror or type(exc).__name__) from exc
    return path


def seal(secret: Secret) -> str:
    """Encrypt a secret with the first key of the file. Raises RequestError."""
    return str(_box().encrypt(secret.reveal().encode()).decode())


def _open(text: str) -> str:
    if not has_key():
        raise _no_key(f"there is no key file {key_file()}")
    path = key_file()
    try:
        return str(_box().decrypt(text.encode()).decode())
    except _fernet().InvalidToken as exc:
        raise _no_key(f"no key in {path} fits") from exc


def _no_key(reason: str) -> RequestError:
    return RequestError(
        f"A secret of a source is encrypted, and {reason}.",
        code="secret_key_missing",
        hint=f"Restore the key file, or name it by {KEY_FILE}; or set the secret with `retrovue source update`.",
    )


def _box() -> Any:
    fernet, path = _fernet(), key_file()
    try:
        return fernet.MultiFernet([fernet.Fernet(key) for key in _keys(path)])
    except ValueError as exc:
        raise _bad_key_file(path, "it holds no keys, one on each line") from exc


def _keys(path: Path) -> list[str]:
    try:
        keys = _small_file(path).split()
    except (OSError, ValueError) as exc:
        raise _bad_key_file(path, getattr(exc, "strerror", None) or "it isn't a small file of text") from exc
    if not keys:
        raise _bad_key_file(path, "it is empty")
    return keys


def _bad_key_file(path: Path, reason: str) -> RequestError:
    return RequestError(
        f"The file with the keys of secrets can't be used: {path}: {reason}.",
        code="bad_key_file",
        hint=f"Correct it, or name another one by {KEY_FILE}.",
    )


def _small_file(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # A pipe without a writer would block for ever.
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(path)
        contents = stream.read(LONGEST_SECRET + 1)
    if len(contents) > LONGEST_SECRET:
        raise ValueError(path)
    return contents.decode()


def _fernet() -> Any:
    try:
        import cryptography.fernet  # noqa: PLC0415 - an extra, and few commands need it
    except ImportError as exc:
        raise RequestError("The package cryptography isn't installed.", code="no_encryption", hint=_INSTALL) from exc
    return cryptography.fernet
