"""The codes of errors, skipped collections and failed enrichments: what each means and what to do next.

An error without a hint of its own takes the hint from here. ``docs/reference/errors.md`` is generated from this table,
and a test compares the table with the codes that the program uses.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Advice(NamedTuple):
    """The meaning of a code, and what to do next."""

    meaning: str
    do: str


_REPORT = "This is a bug of RetroVue: run the command again with RETROVUE_DEBUG=1 and report what it prints."
_HELP = "Read the command's --help."
_NFO = "Correct or remove the NFO file, then run `retrovue collection enrich COLLECTION --retry-failed`."

GUIDE: Mapping[str, Advice] = {
    # What was asked for
    "error": Advice(
        "Something went wrong that has no code of its own.", "Read the message, then run the command again."
    ),
    "bad_request": Advice("The request can't be carried out.", _HELP),
    "usage": Advice("The command line can't be understood.", _HELP),
    "not_utf8": Advice(
        "The locale doesn't say that arguments and file names are UTF-8, as RetroVue expects.",
        "Set PYTHONUTF8=1, or LC_ALL to a UTF-8 locale such as C.UTF-8.",
    ),
    "narrowing_forbidden": Advice(
        "A source is always ingested whole. Only a collection can be ingested in part.",
        "Use `retrovue collection ingest COLLECTION --title TITLE`.",
    ),
    "not_found": Advice("The catalogue has nothing of that name or id.", "List what it has: `retrovue source list`."),
    "source_not_found": Advice("The catalogue has no such source.", "List them: `retrovue source list`."),
    "collection_not_found": Advice("The catalogue has no such collection.", "List them: `retrovue collection list`."),
    "collection_not_in_run": Advice(
        "The run didn't include that collection.", "List the run's collections: `retrovue ingest show RUN`."
    ),
    "run_not_found": Advice("The audit trail has no such run.", "List them: `retrovue ingest log`."),
    "asset_not_found": Advice("The catalogue has no such asset.", "List them: `retrovue asset list`."),
    "schedule_not_found": Advice("The catalogue has no such schedule.", "List them: `retrovue schedule list`."),
    "enricher_not_found": Advice("The catalogue has no such enricher.", "List them: `retrovue enricher list`."),
    "ambiguous": Advice("Several things have that name.", "Use an id instead of the name."),
    "ambiguous_source": Advice("Several sources have that name.", "Use an id from the message instead of the name."),
    "ambiguous_collection": Advice(
        "Several collections have that name.", "Add --source, or use an id from the message instead of the name."
    ),
    "ambiguous_enricher": Advice(
        "Several enrichers have that name.", "Use an id from the message instead of the name."
    ),
    "ambiguous_title": Advice("Several items have that title.", "Add the year, as in --title 'Title (1999)'."),
    "scope_not_found": Advice(
        "The collection has no such title, season or episode.", "Compare the spelling and the numbers with the source."
    ),
    "bad_name": Advice("The name can't be used.", "Choose another name that doesn't look like an id."),
    "bad_path": Advice("A path on this machine can't be used.", "Write an absolute path of a user that exists."),
    "name_taken": Advice("Another source or schedule has this name.", "Choose another name."),
    "already_added": Advice(
        "The server or directory is a source already.", "Update that source, or give --again to add it once more."
    ),
    "bad_mapping": Advice("The path mapping can't be used.", "Write --map FROM=TO with two absolute paths."),
    "no_such_mapping": Advice(
        "The collection has no such path mapping.", "List its mappings: `retrovue collection show COLLECTION`."
    ),
    "bad_concurrency": Advice("The concurrency can't be used.", "Give a whole number of at least 1."),
    "bad_rate": Advice("The rate can't be used.", "Give a number of requests a second above 0."),
    "bad_age": Advice("An age isn't from 0 to 36,500 days.", "Give one in that range."),
    "bad_patience": Advice("The patience can't be used.", "Give a number of seconds above 0."),
    "bad_limit": Advice("The limit can't be used.", "Give a whole number from 0 to 2,147,483,647."),
    "bad_order": Advice("Assets can't be listed in this order.", "Order them by `added`, `name` or `aired`."),
    "bad_cursor": Advice("No list gave this cursor.", "Take the cursor of the page before, or none."),
    "cursor_expired": Advice(
        "The feed of changes can't be read from this cursor: it is older than what is kept, or of another feed.",
        "Read the assets anew, then follow the feed without a cursor.",
    ),
    "bad_filter": Advice("The filter's value can't be used.", "Give numbers from 0, times with a zone, storable text."),
    "bad_priority": Advice("The priority can't be used.", "Give a whole number from -2,147,483,648 to 2,147,483,647."),
    "bad_items": Advice("Only a sync of one collection reads single items.", "Sync the collection."),
    "bad_cron": Advice(
        "The times of the schedule aren't a cron expression.",
        "Give minute, hour, day of the month, month and day of the week, such as '*/5 * * * *'.",
    ),
    "bad_time_zone": Advice(
        "There is no such time zone.", "Give a name of the IANA database, such as UTC or Europe/Berlin."
    ),
    "bad_work": Advice("A schedule can't do that.", "Give sync, full-sync, ingest or enrich."),
    "bad_interval": Advice("The interval can't be used.", "Give a span of time such as 24h or 7d, or 0."),
    "bad_grace": Advice("The grace can't be used.", "Give a span of time such as 24h or 7d, or 0."),
    "bad_adoption": Advice(
        "A collection can't take the place of the other one.", "Read the message; nothing was changed."
    ),
    "removals_held_back": Advice(
        "A sync found assets that aren't listed any more, and a guard kept it from marking them.",
        "Look at the source. If they are really removed, run the sync again with --confirm-removals TOKEN.",
    ),
    "bad_max_removals": Advice(
        "The limit of removals can't be used.", "Give a number of assets such as 50, or a percentage such as 10%."
    ),
    "bad_scope": Advice(
        "The title, season or episode can't exist in any source.",
        "Give a title of at most 1,000 characters, and whole numbers from 0 to 2,147,483,647.",
    ),
    "no_rate_limit": Advice("Requests to sources of this type can't be limited.", "Leave out --max-rps."),
    "bad_lifecycle_step": Advice(
        "The asset is in a state from which this step isn't possible.", "Look at its state: `retrovue asset show UUID`."
    ),
    "confirmation_needed": Advice(
        "A destructive command needs a confirmation, and its input isn't a terminal.",
        "Add --yes, or --dry-run to see what would happen.",
    ),
    "not_confirmed": Advice("The confirmation was declined.", "Run the command again and answer y, or give --yes."),
    "no_answer": Advice(
        "A question wasn't answered.", "Give the answer as an option; the command's --help lists the options."
    ),
    "answers_missing": Advice(
        "The quickstart lacks options, and its input isn't a terminal.", "Give the options that the message names."
    ),
    "nothing_picked": Advice("No library was chosen.", "Run the command again and choose at least one."),
    "conflict": Advice(
        "Another program changed the same rows at the same time.", "Look at them, then run the command again."
    ),
    # Settings and secrets
    "bad_config": Advice(
        "A setting of a source or an enricher can't be used.",
        "Correct it with `retrovue source update` or `retrovue enricher update`.",
    ),
    "unknown_setting": Advice("The type has no such setting.", "List its settings: `retrovue source list-types`."),
    "missing_setting": Advice(
        "The type requires a setting that wasn't given.", "List its settings: `retrovue source list-types`."
    ),
    "missing_token": Advice("The token is missing.", "Give it in --token-file FILE or in RETROVUE_TOKEN."),
    "empty_secret": Advice("The file or variable of the secret is empty.", "Write the secret there, on one line."),
    "bad_secret": Advice(
        "The file or variable holds more than a secret.", "Write the secret alone: one word on one line."
    ),
    "bad_token": Advice("The token holds characters that no token has.", "Give the token alone, without quotes."),
    "bad_url": Advice(
        "The address can't be used.", "Write it with scheme and host, such as http://192.168.1.10:32400."
    ),
    "bad_ca_file": Advice(
        "The certificate file can't be read.",
        "Name a readable PEM file: `retrovue source update SOURCE --ca-file FILE`.",
    ),
    "sign_in_expired": Advice("Nobody signed in at plex.tv in time.", "Run the command again to get a new address."),
    "unsupported_importer": Advice(
        "No importer of that type is installed.",
        "Install its package; `retrovue source list-types` lists the installed types.",
    ),
    "importer_not_compliant": Advice(
        "The importer doesn't implement ImporterInterface.", "Update or remove the package that provides it."
    ),
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
        "The server names the files of a library to its owner only, and the token is another user's.",
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
        "The source lists more folders for the library than any has.", "Look at the library's folders in the source."
    ),
    "secret_unreadable": Advice(
        "A secret that is kept by reference can't be read where it should be.",
        "Make it readable for the account that runs RetroVue, or name another place with `retrovue source update`.",
    ),
    "bad_secret_reference": Advice(
        "The reference to a secret can't be used.", "Give file:/ABSOLUTE/PATH, env:NAME or credential:NAME."
    ),
    "secret_key_missing": Advice(
        "A secret is encrypted, and the key isn't there.", "Bring back the key file, or give the secret anew."
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
        "Look at what the source lists. A large library can be divided there.",
    ),
    "unexpected_status": Advice(
        "The source answers with a status that no request of RetroVue leads to, such as 304 (not modified).",
        "Check any proxy or cache between here and the source.",
    ),
    "redirect_loop": Advice("The source redirects in a circle.", "Use the address that the server announces."),
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
        "Nothing has to be done: a sync reads the whole collection in its place.",
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
    "not_entered": Advice("A client was used before it was opened.", _REPORT),
    "closed": Advice("The reading of a page was stopped.", "Run the command again; the collection wasn't changed."),
    # Enrichers
    "unsupported_enricher": Advice(
        "No enricher of that type is installed.",
        "Install its package; `retrovue enricher list-types` lists the installed types.",
    ),
    "enricher_not_compliant": Advice("The enricher can't be used.", "Update or remove the package that provides it."),
    "enricher_does_not_fit": Advice("The enricher can't work for this source.", "Detach it from the collection."),
    "no_enrichers": Advice("The collection has no enricher.", "Attach one: `retrovue collection attach-enricher`."),
    "enricher_given_up": Advice(
        "An enricher didn't answer for too long in a collection, or left too many threads behind.",
        "Repair or detach the enricher. The next ingest tries the owed enrichments again.",
    ),
    "enrichment_failed": Advice(
        "An asset can't be enriched.",
        "Resolve the cause, then run `retrovue collection enrich COLLECTION --retry-failed`.",
    ),
    "no_source": Advice("The enricher needs a source with an API.", "Attach it to collections of such a source."),
    "no_guessit": Advice("The program that parses file names isn't installed.", "Install it as the message says."),
    "no_probe": Advice("No program that reads media files is installed.", "Install one as the message says."),
    "no_program": Advice("A program isn't installed.", "Install it, or correct the enricher's path to it."),
    "program_timeout": Advice("A program took too long for a file.", "Check the file and its mount."),
    "output_too_large": Advice("A program printed far more than expected.", "Check whether the file is damaged."),
    "not_media": Advice(
        "The file can't be read as media.", "Check whether the file is damaged or still being written."
    ),
    "no_duration": Advice(
        "No duration can be found in the file, or it is a picture.",
        "Look whether it is still being written; else write it anew, e.g. with `ffmpeg -i IN -c copy OUT`.",
    ),
    "nfo_of_another": Advice("The NFO file doesn't describe this item.", _NFO),
    "nfo_too_large": Advice("The file is too large for an NFO file.", _NFO),
    "nfo_malformed": Advice("The NFO file isn't well-formed.", _NFO),
    "nfo_forbidden": Advice("The NFO file declares entities, which aren't read for safety.", _NFO),
    "unreadable_sidecar": Advice("The NFO file exists and can't be read.", "Check its permissions and its mount."),
    "no_file": Advice("The media file can't be found.", "Check the mount and the path mapping of the collection."),
    "probe_timeout": Advice(
        "Reading the media file took too long.",
        "Check the mount, or run `retrovue enricher update ENRICHER --file-deadline SECONDS`.",
    ),
    "probe_crashed": Advice("The media file ends the program that reads it.", "Check whether the file is damaged."),
    "not_of_plex": Advice("The asset isn't from a Plex server.", "Detach plex-details from the collection."),
    "enricher_timeout": Advice("An enricher missed its deadline.", "Check the file; else report it to its author."),
    "enricher_blocks": Advice("An enricher blocks its event loop.", "Report it to its author."),
    "enricher_failed": Advice("An enricher has a bug.", "Report it to its author, with the message."),
    "bad_result": Advice("An enricher returned what the catalogue can't hold.", "Report it to its author."),
    "result_too_large": Advice("An enricher returned more than 1 MiB for an asset.", "Report it to its author."),
    "not_tried": Advice(
        "The enricher wasn't asked for this asset, because it failed too often before.",
        "Resolve the other failures. The next ingest tries the owed enrichments again.",
    ),
    # The catalogue
    "store_error": Advice("The catalogue can't be used.", "Run `retrovue doctor`."),
    "database_unavailable": Advice(
        "The database can't be reached or doesn't answer.",
        "Check that it runs; `retrovue doctor` checks the connection.",
    ),
    "database_error": Advice(
        "The database or its driver failed.", "Run `retrovue doctor`, and read the log of the database server."
    ),
    "database_too_old": Advice("The version of the database server isn't supported.", "Use PostgreSQL 14 or newer."),
    "database_encoding": Advice(
        "The encoding of the database isn't UTF8.",
        "Create one: CREATE DATABASE retrovue ENCODING 'UTF8' TEMPLATE template0.",
    ),
    "database_read_only": Advice("The database is read-only.", "Connect to the primary, not to a standby."),
    "database_permission": Advice("The database role lacks a right.", "Grant the right that the message names."),
    "database_in_use": Advice(
        "Another program is connected to the database.", "End that program, then run the command again."
    ),
    "bad_settings": Advice("A catalogue needs either settings or an engine.", "Give one of the two."),
    "bad_engine": Advice("The engine isn't one for PostgreSQL by asyncpg.", "Create it with postgresql+asyncpg://…."),
    "embedded_only": Advice(
        "Only the embedded database can be backed up by this command.",
        "Use pg_dump and pg_restore with another server.",
    ),
    "bad_file": Advice("The file can't be read or written, or isn't a backup.", "Check its name and its permissions."),
    "file_exists": Advice("The file exists already.", "Choose another name: a backup never replaces a file."),
    "backup_failed": Advice("pg_dump or pg_restore failed. Nothing was changed.", "Resolve the cause in the message."),
    "bad_database_url": Advice(
        "The URL of the database can't be used.", "Write it as postgresql://user@host/database."
    ),
    "database_tls": Advice(
        "The TLS connection to the database failed.",
        "Check sslmode and sslrootcert in the database's URL.",
    ),
    "bad_value": Advice("The database refused a value.", _REPORT),
    "transaction_pooling": Advice(
        "The pooler gives each transaction another session.", "Connect directly, or set the pooler to session mode."
    ),
    "pool_too_small": Advice("The store has too few connections for the concurrency.", "Lower --concurrency."),
    "too_many_connections": Advice(
        "The server has too few connections.", "Lower --concurrency, or raise max_connections."
    ),
    "schema_missing": Advice("The database has no schema yet.", "Run `retrovue db upgrade`."),
    "schema_outdated": Advice(
        "The schema of the database is older than this program needs.", "Run `retrovue db upgrade`."
    ),
    "schema_newer": Advice(
        "The schema of the database is newer than this program.", "Install the newer version of RetroVue."
    ),
    "wrong_database_role": Advice(
        "The database is marked for the other purpose, production or test.",
        "Check RETROVUE_DATABASE_URL and RETROVUE_TEST_DATABASE_URL.",
    ),
    "no_test_database": Advice("No test database is configured.", "Set RETROVUE_TEST_DATABASE_URL."),
    "test_database_is_production": Advice(
        "The URL of the test database names the production database.", "Correct RETROVUE_TEST_DATABASE_URL."
    ),
    "test_db_only": Advice("The command works on the test database only.", "Add --test-db."),
    "already_running": Advice(
        "Another command is working on the collection.", "Wait until it ends; `retrovue ingest log` lists the runs."
    ),
    "locks_lost": Advice(
        "The connection that held the locks was lost. The collection wasn't changed.", "Run the command again."
    ),
    "commit_unknown": Advice(
        "The connection broke during COMMIT, so the result is unknown.",
        "Look at `retrovue ingest log`, then run the ingest again.",
    ),
    # The run
    "rolled_back": Advice(
        "Another collection failed, and the run was one unit of work.",
        "Resolve the failure that it names, then run the command again; or leave out --atomic.",
    ),
    "interrupted": Advice(
        "A signal or the host program interrupted the command.", "Run it again: finished collections stay as they are."
    ),
    "enrichments_failed": Advice(
        "An enrichment that was asked for failed for some assets, which stay enriching.",
        "Mend what the failures name, and run `retrovue collection enrich COLLECTION --retry-failed`; or approve the"
        " assets as they are with `retrovue asset approve UUID --despite-enrichment`.",
    ),
    "enrichment_interrupted": Advice(
        "A signal or the host program interrupted an enrichment. The collection itself is ingested.",
        "Run `retrovue collection enrich COLLECTION`, or leave it to the next ingest.",
    ),
    "internal": Advice("RetroVue has a bug.", _REPORT),
}


def advice(*codes: str) -> str | None:
    """Return what to do about the first code that is known, or None."""
    return next((GUIDE[code].do for code in codes if code in GUIDE), None)
