r"""Path mapping: the source's path systems, component boundaries, and that nothing climbs out."""

import posixpath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from retrovue.core.model import PathMapping
from retrovue.core.paths import PathMapper, UnmappedPath, check_mapping, components, path_system, stem
from retrovue.errors import RequestError


def mapper(*mappings: tuple[str, str]) -> PathMapper:
    return PathMapper([PathMapping(prefix, local) for prefix, local in mappings])


@pytest.mark.fault(40, 41)
class TestPrefix:
    @pytest.mark.parametrize(
        ("path", "local"),
        [
            ("/data/movies/a.mkv", "/m/a.mkv"),
            ("/data/movies/kids/a.mkv", "/k/a.mkv"),
            ("/data/movies/kids-old/a.mkv", "/m/kids-old/a.mkv"),
            ("/data/movies2/a.mkv", "/d/movies2/a.mkv"),
            ("/data/movies.mkv", "/d/movies.mkv"),
            ("/data//movies/./kids//a.mkv", "/k/a.mkv"),
            ("/data/movies/kids/../a.mkv", "/m/a.mkv"),
            ("/data/Movies/a.mkv", "/d/Movies/a.mkv"),
            ("/data/movies/ sp ace/ä“🎬\\x.mkv", "/m/ sp ace/ä“🎬\\x.mkv"),
            ("/data/movies/...", "/m/..."),
            ("/data/movies/..a", "/m/..a"),
        ],
    )
    def test_the_longest_on_a_component_boundary_wins(self, path: str, local: str) -> None:
        paths = mapper(("/data", "/d"), ("/data/movies", "/m"), ("/data/movies/kids/", "/k/"))
        if "kids/.." in path:
            with pytest.raises(UnmappedPath) as refused:
                paths.file(path)
            assert refused.value.code == "path_outside_root"
        else:
            assert paths.file(path) == local

    @pytest.mark.parametrize(
        ("prefix", "local", "path", "expected"),
        [
            ("/", "/mnt", "/a/b.mkv", "/mnt/a/b.mkv"),
            ("/", "/", "/a/b.mkv", "/a/b.mkv"),
            ("/", "/", "/b.mkv", "/b.mkv"),
            ("/a", "/", "/a/b.mkv", "/b.mkv"),
            ("/a/", "/mnt/", "/a/b.mkv", "/mnt/b.mkv"),
            ("/a//", "/mnt", "/a/b/../c.mkv", "/mnt/c.mkv"),
            ("P:\\", "/mnt", "P:\\Films\\a.mkv", "/mnt/Films/a.mkv"),
            ("P:", "/mnt", "p:/a.mkv", "/mnt/a.mkv"),
            ("p:/films", "/mnt", "P:\\films\\x\\..\\a.mkv", "/mnt/a.mkv"),
            ("\\\\NAS\\Media", "/mnt", "\\\\nas\\media\\tv\\a.mkv", "/mnt/tv/a.mkv"),
            ("\\\\nas\\media\\tv\\", "/mnt", "\\\\nas\\media\\tv\\a.mkv", "/mnt/a.mkv"),
            ("\\\\nas/media", "/mnt", "\\\\nas\\media/a.mkv", "/mnt/a.mkv"),
        ],
    )
    def test_of_any_system(self, prefix: str, local: str, path: str, expected: str) -> None:
        assert mapper((prefix, local)).file(path) == expected

    def test_a_directory_may_be_the_mapped_one_itself(self) -> None:
        paths = mapper(("/data", "/mnt"), ("D:\\", "/d"))
        assert [paths.directory(path) for path in ("/data", "/data/", "/data/x/", "D:\\")] == [
            "/mnt", "/mnt", "/mnt/x", "/d",
        ]  # fmt: skip


@pytest.mark.fault(36, 37, 39)
class TestRefused:
    @pytest.mark.parametrize(
        ("path", "code"),
        [
            ("/other/a.mkv", "unmapped_path"),
            ("/database/a.mkv", "unmapped_path"),
            ("/dat/a.mkv", "unmapped_path"),
            ("/DATA/a.mkv", "unmapped_path"),
            ("data/a.mkv", "unmapped_path"),
            ("a.mkv", "unmapped_path"),
            ("P:a.mkv", "unmapped_path"),
            ("Q:\\a.mkv", "unmapped_path"),
            ("P:\\FILMS\\a.mkv", "unmapped_path"),
            ("\\\\nas\\other\\a.mkv", "unmapped_path"),
            ("\\\\nas", "unmapped_path"),
            ("/data/../etc/passwd", "path_outside_root"),
            ("/data/x/../../etc/passwd", "path_outside_root"),
            ("P:\\films\\..\\..\\a.mkv", "path_outside_root"),
            ("\\\\nas\\media\\..\\a.mkv", "path_outside_root"),
            ("", "bad_path"),
            ("/data/", "bad_path"),
            ("/data/..", "bad_path"),
            ("/data/x/.", "bad_path"),
            ("P:\\films\\", "bad_path"),
            ("/data/a\0.mkv", "bad_path"),
            ("/da\0ta/a.mkv", "bad_path"),
            ("P:\\films\\a\0", "bad_path"),
            ("/data/\udcff.mkv", "bad_path"),
            ("P:\\films\\\ud800", "bad_path"),
        ],
    )
    def test_with_a_reason(self, path: str, code: str) -> None:
        paths = mapper(("/data", "/mnt"), ("P:\\films", "/films"), ("\\\\nas\\media", "/nas"))
        with pytest.raises(UnmappedPath) as refused:
            paths.file(path)
        assert refused.value.code == code
        assert refused.value.reason.encode()

    def test_without_any_mapping(self) -> None:
        with pytest.raises(UnmappedPath):
            mapper().file("/data/a.mkv")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/films/Heat (1995).mkv", "Heat (1995)"),
        ("P:\\Films\\Heat.mkv", "Heat"),
        ("/films/a\\b.mkv", "a\\b"),
        ("/films/.hidden", ".hidden"),
        ("/films/", "/films/"),
    ],
)
def test_the_stem_of_a_path(path: str, name: str) -> None:
    assert stem(path) == name


@pytest.mark.fault(40, 41)
class TestPathSystem:
    @pytest.mark.parametrize("path", ["C:\\", "c:/x", "Z:", "\\\\nas\\share"])
    def test_windows(self, path: str) -> None:
        assert path_system(path) == "windows"

    @pytest.mark.parametrize("path", ["/", "//nas/x", "/C:/x", "C:x", "1:\\x", "", "\\x"])
    def test_posix(self, path: str) -> None:
        assert path_system(path) == "posix"

    def test_only_a_root_has_no_case(self) -> None:
        assert components("P:\\A") == components("p:/A") != components("p:/a")
        assert components("\\\\NAS\\Share\\A") == components("\\\\nas\\share/A") != components("\\\\nas\\share\\a")
        assert components("/A") != components("/a")


class TestCheckMapping:
    @pytest.mark.parametrize("prefix", ["", "data", "C:data", "/data/../x", "/da\0ta", "./x"])
    def test_the_prefix_has_to_be_absolute_and_plain(self, prefix: str) -> None:
        with pytest.raises(RequestError) as refused:
            check_mapping(PathMapping(prefix, "/mnt"))
        assert refused.value.code == "bad_mapping"

    @pytest.mark.parametrize("local", ["", "mnt", "~/mnt", "C:\\mnt", "/mnt\0"])
    def test_the_local_path_has_to_be_absolute(self, local: str) -> None:
        with pytest.raises(RequestError) as refused:
            check_mapping(PathMapping("/data", local))
        assert refused.value.code == "bad_mapping"

    @pytest.mark.parametrize("local", ["/mnt/media", "/mnt/media/", "//mnt//media", "/mnt/./x/../media"])
    def test_one_directory_has_one_spelling(self, local: str) -> None:
        assert check_mapping(PathMapping("/data/", local)) == PathMapping("/data/", "/mnt/media")


_PART = st.sampled_from(
    ["..", ".", "", "data", "movies", "a", "...", " ", "b.mkv", "C:", "nas", "\\", "\0", "é", "\udc80"]
)
_PATH = st.one_of(
    st.builds(lambda parts: "/" + "/".join(parts), st.lists(_PART, max_size=7)),
    st.builds(lambda parts: "C:\\" + "\\".join(parts), st.lists(_PART, max_size=7)),
    st.builds(lambda parts: "\\\\nas\\" + "\\".join(parts), st.lists(_PART, max_size=7)),
    st.text(st.characters(), max_size=12),
)


@pytest.mark.fault(36)
class TestAnyPath:
    @example(path="/data/movies/../../etc/x")
    @example(path="/data/./movies/..//../x")
    @given(path=_PATH)
    def test_stays_below_the_mapped_directory(self, path: str) -> None:
        mappings = {"/data": "/mnt/d", "/data/movies": "/srv/m", "C:\\": "/win", "\\\\nas\\data": "/unc"}
        try:
            local = mapper(*mappings.items()).file(path)
        except UnmappedPath:
            return
        assert any(local.startswith(f"{root}/") for root in mappings.values())
        assert posixpath.normpath(local) == local
        assert local.encode()
        assert "\0" not in local

    @given(path=_PATH)
    def test_a_file_lies_in_its_mapped_directory(self, path: str) -> None:
        paths = mapper(("/", "/mnt"), ("C:\\", "/win"), ("\\\\nas\\data", "/unc"))
        try:
            local = paths.file(path)
        except UnmappedPath:
            return
        cut = max(path.rfind("/"), path.rfind("\\") if path_system(path) == "windows" else -1)
        assert posixpath.dirname(local) == paths.directory(path[: cut + 1]).rstrip("/")


@pytest.mark.fault(129, 213)
class TestSpellings:
    @pytest.mark.parametrize("prefix", ["\\\\nas\\x", "//nas/x", "\\\\?\\UNC\\nas\\x", "\\\\NAS\\X\\", "//NAS/x/"])
    @pytest.mark.parametrize("path", ["\\\\nas\\x\\A\\b.mkv", "//Nas/x/A/b.mkv", "\\\\?\\unc\\nas\\X\\A\\b.mkv"])
    def test_a_share_has_several(self, prefix: str, path: str) -> None:
        assert mapper((prefix, "/mnt")).file(path) == "/mnt/A/b.mkv"

    def test_a_drive_has_several(self) -> None:
        assert mapper(("e:\\Other", "/mnt")).file("\\\\?\\E:\\Other\\a.mkv") == "/mnt/a.mkv"

    def test_two_slashes_are_one_on_a_posix_system(self) -> None:
        assert mapper(("/data/movies", "/mnt")).file("//data/movies/a.mkv") == "/mnt/a.mkv"

    def test_composed_and_decomposed_letters_are_one_in_a_prefix_and_stay_behind_it(self) -> None:
        composed, decomposed = "/data/Am\u00e9lie", "/data/Ame\u0301lie"
        for prefix, path in ((composed, decomposed), (decomposed, composed)):
            assert mapper((prefix, "/mnt")).file(f"{path}/Ame\u0301lie.mkv") == "/mnt/Ame\u0301lie.mkv"

    @pytest.mark.parametrize(
        ("path", "reason"),
        [
            ("/data/Movies/a.mkv", "covers '/data/Movies/'; one differs only in the case of its letters"),
            ("p:/FILMS/a.mkv", "covers 'p:/FILMS/'; one differs only in the case of its letters"),
            ("D:a.mkv", "'D:a.mkv' is a relative path"),
            ("movies/a.mkv", "'movies/a.mkv' is a relative path"),
            ("smb://nas/x/a.mkv", "'smb://nas/x/a.mkv' is an address, not a path"),
        ],
    )
    def test_what_cannot_be_mapped_is_told(self, path: str, reason: str) -> None:
        with pytest.raises(UnmappedPath) as refused:
            mapper(("/data/movies", "/mnt"), ("P:\\films", "/mnt")).file(path)
        assert reason in refused.value.reason

    def test_messages_show_paths_as_they_are(self) -> None:
        with pytest.raises(UnmappedPath, match=r"no path mapping covers 'E:\\Other\\a'"):
            mapper().directory("E:\\Other\\a")
        with pytest.raises(UnmappedPath, match=r"'/a\\nb'"):
            mapper().directory("/a\nb")
