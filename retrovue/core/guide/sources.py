"""Codes of collections that are skipped, of sources, and of importers."""

from collections.abc import Mapping

from retrovue.core.guide.advice import REPORT, Advice

SOURCES: Mapping[str, Advice] = {
    # Nothing to ingest, and collections that are skipped
    "no_transport": Advice("Sources of that type can't use a custom transport.", "Omit the transport."),
    "no_sources": Advice("There is no source to ingest.", "Add one with `retrovue source add`."),
    "no_collections": Advice("The source has no collections.", "Run `retrovue source discover SOURCE`."),
    "no_enabled_collections": Advice(
        "No collection is enabled.", "Enable one with `retrovue collection update COLLECTION --enable`."
    ),
    "no_ingestible_collections": Advice(
        "No enabled collection can be ingested now.", "Resolve the reasons listed, often path mappings or mounts."
    ),
    "sync_disabled": Advice(
        "The collection isn't enabled.", "To ingest it, run `retrovue collection update COLLECTION --enable`."
    ),
    "not_failed": Advice("--retry-failed skipped the collection: its latest ingest didn't fail.", "Nothing."),
    "not_ingestible": Advice(
        "The importer says that the collection can't be ingested.", "Resolve the reason in the message."
    ),
    "no_location": Advice(
        "The library has no folder at its source.", "Add a folder there, then run `retrovue source discover SOURCE`."
    ),
    "unmapped_location": Advice(
        "A folder of the library has no path mapping.",
        "Add it with `retrovue collection update COLLECTION --map FROM=TO`.",
    ),
    "unknown_location": Advice(
        "The source doesn't report where the library's files are.", "Use the API key of an administrator."
    ),
    "files_hidden": Advice(
        "The server shows the files of a library to its owner only, and the token is another user's.",
        "Set the owner's token with `retrovue source update`.",
    ),
    "unreadable_library": Advice(
        "The server lists a library without its id, which may be this one.",
        "Try again when the server has scanned it.",
    ),
    "unsupported_kind": Advice("The library holds nothing that can be broadcast.", "Leave it disabled."),
    "missing_directory": Advice("A directory doesn't exist.", "Mount it, or correct the path mapping."),
    "unreadable_directory": Advice("A directory can't be listed.", "Check its permissions and the mount."),
    "directory_timeout": Advice("A directory didn't answer in time.", "Check the mount and the server behind it."),
    "location_empty": Advice(
        "A directory is empty, although the source lists files in it.",
        "If they are meant to be elsewhere: `retrovue collection update COLLECTION --no-check-files`. Else mount it.",
    ),
    "files_not_found": Advice(
        "None of a sample of the listed files is on this machine. The collection wasn't changed.",
        "Check the mount and the path mappings. For files that are meant to be elsewhere:"
        " `retrovue collection update COLLECTION --no-check-files`.",
    ),
    "gone_from_source": Advice(
        "The source no longer has the collection, or doesn't show it to this token.",
        "Check the rights of the token. If the collection was removed, disable or wipe it.",
    ),
    # The source
    "source_error": Advice("The source can't be read.", "Read the message; `retrovue doctor` checks the source."),
    "source_unreachable": Advice(
        "The source didn't answer any attempt.", "Check that it runs, its address, and the network."
    ),
    "tls_certificate": Advice(
        "The certificate of the source isn't trusted.",
        "Name its authority's file with `retrovue source update SOURCE --ca-file FILE`, or use the host name in the"
        " certificate.",
    ),
    "not_tls": Advice(
        "The port is one for plain HTTP, and the base URL begins with https.",
        "Let the base URL begin with http://, or give the port for https.",
    ),
    "tls_required": Advice(
        "The port is one for TLS, and the base URL begins with http.", "Let the base URL begin with https://."
    ),
    "auth": Advice(
        "The source refused the token.", "Set a valid one: `retrovue source update SOURCE --token-file FILE`."
    ),
    "request_refused": Advice("The source refused a request.", "Check the address and the version of the server."),
    "wrong_identity": Advice(
        "Another server answers at the address.",
        "Correct the address, or add that server as a source. If it was set up again: --accept-new-identity.",
    ),
    "too_many_locations": Advice(
        "The source lists more folders for the library than any library has.",
        "Check the library's folders in the source.",
    ),
    "secret_unreadable": Advice(
        "A secret that is kept by reference can't be read.",
        "Make it readable for the account that runs RetroVue, or name another place with `retrovue source update`.",
    ),
    "bad_secret_reference": Advice(
        "The reference to a secret can't be used.", "Give file:/ABSOLUTE/PATH, env:NAME or credential:NAME."
    ),
    "secret_key_missing": Advice(
        "A secret is encrypted, and the key isn't there.", "Restore the key file, or set the secret again."
    ),
    "bad_key_file": Advice(
        "The file with the keys of secrets can't be used.", "Correct it, or name another one by RETROVUE_KEY_FILE."
    ),
    "no_encryption": Advice(
        "Secrets can't be encrypted or decrypted: the package cryptography isn't installed.",
        "Install it: pip install 'retrovue[encryption]'.",
    ),
    "staging_too_large": Advice(
        "A collection's items take more room in temporary tables than any library does.",
        "Check what the source lists. A large library can be divided there.",
    ),
    "unexpected_status": Advice(
        "The source answers with a status that no request of RetroVue leads to, such as 304 (not modified).",
        "Check any proxy or cache between here and the source.",
    ),
    "redirect_loop": Advice("The source redirects in a loop.", "Use the address that the server announces."),
    "foreign_redirect": Advice(
        "The source redirects to another address, which would receive the token.",
        "If that address is the right one, set it as the base URL of the source.",
    ),
    "not_plex": Advice(
        "The server at the address isn't a Plex server.", "Check the base URL; the usual port is 32400."
    ),
    "not_jellyfin": Advice(
        "The server at the address isn't a Jellyfin server.", "Check the base URL; the usual port is 8096."
    ),
    "malformed_answer": Advice(
        "An answer doesn't follow the source's API.",
        "Try again. If it happens again, check the server's version, and for a proxy in between.",
    ),
    "bad_json": Advice("An answer isn't JSON.", "Try again. If it happens again, check for a proxy in between."),
    "no_container": Advice(
        "An answer lacks the list that it should hold.", "Check that the address belongs to the media server."
    ),
    "truncated_answer": Advice(
        "An answer ended too early.", "Try again. If it happens again, check for a proxy in between."
    ),
    "answer_too_large": Advice(
        "An answer is larger than any valid page.", "Check that the address belongs to the media server."
    ),
    "changes_unknown": Advice(
        "The source can't tell what has changed since a time.",
        "Nothing has to be done: a sync reads the whole collection instead.",
    ),
    "incomplete_enumeration": Advice(
        "The listing isn't proven to be complete. The collection wasn't changed.",
        "Try again when the source has finished scanning.",
    ),
    "suspicious_empty": Advice(
        "The source lists nothing in a collection that has assets. The collection wasn't changed.",
        "Check the mounts and the rights of the token. If the collection is really empty, wipe it.",
    ),
    "all_rejected": Advice("None of the items can be used.", "Look at the reasons, often missing path mappings."),
    "discovery_unsupported": Advice("The importer can't list collections.", "Use another type of source."),
    "importer_failed": Advice("The importer has a bug.", "Report it to the provider of the importer."),
    "importer_timeout": Advice("The importer didn't answer in time.", "Try again, or set a longer --patience."),
    "importer_blocks": Advice("The importer blocks its event loop.", "Report it to the provider of the importer."),
    "not_entered": Advice("A client was used before it was opened.", REPORT),
    "closed": Advice("The reading of a page was stopped.", "Run the command again; the collection wasn't changed."),
    "events_need_user": Advice(
        "Jellyfin reports changes to users only, and the source has an API key.",
        "Give the access token of a user with `retrovue source update`, or add a schedule.",
    ),
    "watched_directory_changed": Advice("A watched directory was replaced or removed.", "Check the mount."),
}
