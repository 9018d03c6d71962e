"""Every code that an error, a skipped collection or a failed enrichment can have: what it means and what to do next.

An error that says itself what to do overrides the second part; none is without. ``docs/reference/errors.md`` is made
of this table, and a test holds it to the codes that the program really uses.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Advice(NamedTuple):
    """What a code means, and what to do next."""

    meaning: str
    do: str


_REPORT = "This is a bug of RetroVue: run the command again with RETROVUE_DEBUG=1 and report what it prints."
_HELP = "Look at the command's --help."
_NFO = "Correct or remove the NFO file, then run `retrovue collection enrich COLLECTION --retry-failed`."

GUIDE: Mapping[str, Advice] = {
    # What was asked for
    "error": Advice("Something went wrong that has no code of its own.", "Read the message; then run it again."),
    "bad_request": Advice("What was asked for can't be done.", _HELP),
    "usage": Advice("The command line can't be understood.", _HELP),
    "not_utf8": Advice(
        "The locale says that arguments and file names aren't UTF-8, which RetroVue takes them for.",
        "Set PYTHONUTF8=1, or LC_ALL to a UTF-8 locale such as C.UTF-8.",
    ),
    "narrowing_forbidden": Advice(
        "A source is ingested whole; parts of it are the business of collection ingest.",
        "Use `retrovue collection ingest COLLECTION --title TITLE`.",
    ),
    "not_found": Advice("There is no such thing in the catalogue.", "Look at what there is: `retrovue source list`."),
    "source_not_found": Advice("There is no such source.", "Look at `retrovue source list`."),
    "collection_not_found": Advice("There is no such collection.", "Look at `retrovue collection list`."),
    "collection_not_in_run": Advice("The run didn't touch that collection.", "Look at `retrovue ingest show RUN`."),
    "run_not_found": Advice("There is no such run.", "Look at `retrovue ingest log`."),
    "asset_not_found": Advice("There is no such asset.", "Look at `retrovue asset list`."),
    "enricher_not_found": Advice("There is no such enricher.", "Look at `retrovue enricher list`."),
    "ambiguous": Advice("The name fits several.", "Name one by its id."),
    "ambiguous_source": Advice("The name fits several sources.", "Name one by its id; the message lists them."),
    "ambiguous_collection": Advice(
        "The name fits several collections.", "Add --source, or name one by its id; the message lists them."
    ),
    "ambiguous_enricher": Advice("The name fits several enrichers.", "Name one by its id; the message lists them."),
    "ambiguous_title": Advice("The title fits several items.", "Add the year, as in --title 'Title (1999)'."),
    "scope_not_found": Advice(
        "The title, season or episode isn't in the collection.", "Check the spelling and the numbers at the source."
    ),
    "bad_name": Advice("The name can't be used.", "Choose another name, one that isn't shaped like an id."),
    "bad_mapping": Advice("The path mapping can't be used.", "Write --map FROM=TO with two absolute paths."),
    "no_such_mapping": Advice("There is no such mapping.", "Look at `retrovue collection show COLLECTION`."),
    "bad_concurrency": Advice("The concurrency can't be used.", "Give a whole number from 1 on."),
    "bad_rate": Advice("The rate can't be used.", "Give a number of requests a second above 0."),
    "bad_patience": Advice("The patience can't be used.", "Give a number of seconds above 0."),
    "bad_limit": Advice("So many can't be listed.", "Give a whole number from 0 to 2,147,483,647."),
    "bad_priority": Advice(
        "An enricher can't have this priority.", "Give a whole number from -2,147,483,648 to 2,147,483,647."
    ),
    "bad_scope": Advice(
        "No source can be asked for such a title, season or episode.",
        "Give a title of at most 1,000 characters, and whole numbers from 0 to 2,147,483,647.",
    ),
    "no_rate_limit": Advice("Sources of this type can't be asked at a given rate.", "Leave out --max-rps."),
    "bad_lifecycle_step": Advice(
        "The asset isn't in the state that the step begins with.", "Look at it with `retrovue asset show UUID`."
    ),
    "confirmation_needed": Advice("A destructive command had nobody to ask.", "Give --yes, or --dry-run to look."),
    "not_confirmed": Advice(
        "The question wasn't answered with yes.", "Run the command again and answer y, or give --yes."
    ),
    "no_answer": Advice(
        "A question wasn't answered.", "Give the answer as an option; the command's --help lists them."
    ),
    "answers_missing": Advice(
        "The quickstart had nobody to ask and lacks options.", "Give the options that the message names."
    ),
    "nothing_picked": Advice("No library was picked.", "Run the command again and pick at least one."),
    "conflict": Advice("Another program changed the same thing meanwhile.", "Look at it, then run the command again."),
    # Settings and secrets
    "bad_config": Advice(
        "A setting of a source or an enricher can't be used.",
        "Correct it with `retrovue source update` or `retrovue enricher update`.",
    ),
    "unknown_setting": Advice("The type has no such setting.", "Look at `retrovue source list-types`."),
    "missing_setting": Advice("The type needs a setting that isn't there.", "Look at `retrovue source list-types`."),
    "missing_token": Advice("The token is missing.", "Give it by --token-file FILE, or by RETROVUE_TOKEN."),
    "empty_secret": Advice("The place where the secret should be is empty.", "Put the secret there, on one line."),
    "bad_secret": Advice("What was found can't be a secret.", "Give the secret alone: one word on one line."),
    "bad_token": Advice("The token holds characters that no token has.", "Give the token alone, without quotes."),
    "bad_url": Advice("The address can't be used.", "Give it with scheme and host, as http://192.168.1.10:32400."),
    "bad_ca_file": Advice("The certificate file can't be read.", "Set ca_file to a PEM file that can be read."),
    "sign_in_expired": Advice("Nobody signed in at plex.tv in time.", "Run the command again for a new address."),
    "unsupported_importer": Advice(
        "No importer of that type is installed.",
        "Install its package; `retrovue source list-types` lists what is there.",
    ),
    "importer_not_compliant": Advice(
        "The importer doesn't implement ImporterInterface.", "Update or remove the package that provides it."
    ),
    # Nothing to ingest, and collections that are skipped
    "no_transport": Advice("Sources of that type can't be read by a given transport.", "Leave out the transport."),
    "no_collections": Advice("The source has no collections.", "Run `retrovue source discover SOURCE`."),
    "no_enabled_collections": Advice(
        "No collection is enabled.", "Enable one with `retrovue collection update COLLECTION --enable`."
    ),
    "no_ingestible_collections": Advice(
        "No enabled collection can be ingested now.", "Mend what the reasons say, mostly mappings or mounts."
    ),
    "sync_disabled": Advice(
        "The collection isn't enabled.", "If it should be: `retrovue collection update COLLECTION --enable`."
    ),
    "not_failed": Advice("--retry-failed left it out: its latest ingest didn't fail.", "Nothing."),
    "not_ingestible": Advice("The importer says that the collection can't be ingested.", "Mend what the reason says."),
    "no_location": Advice("The library has no folder at its source.", "Add one there, then discover again."),
    "unmapped_location": Advice(
        "A folder of the library has no path mapping.",
        "Add it with `retrovue collection update COLLECTION --map FROM=TO`.",
    ),
    "unknown_location": Advice(
        "The source doesn't tell where the library's files are.", "Use the API key of an administrator."
    ),
    "unsupported_kind": Advice("The library holds nothing that can be broadcast.", "Leave it disabled."),
    "missing_directory": Advice("A directory isn't there.", "Mount it, or correct the path mapping."),
    "unreadable_directory": Advice("A directory can't be listed.", "Check its permissions and the mount."),
    "directory_timeout": Advice("A directory didn't answer in time.", "Check the mount and the server behind it."),
    "gone_from_source": Advice(
        "The source no longer has the collection, or doesn't show it.",
        "Check the token's rights; if it was removed, disable or wipe the collection.",
    ),
    # The source
    "source_error": Advice("The source can't be read.", "Read the message; `retrovue doctor` looks at the source."),
    "source_unreachable": Advice(
        "The source didn't answer, after all retries.", "Check that it runs, its address, and the network between."
    ),
    "tls_certificate": Advice(
        "The source's certificate isn't accepted.", "Set ca_file, or use the name it was made for."
    ),
    "auth": Advice(
        "The source refused the token.", "Set a valid one: `retrovue source update SOURCE --token-file FILE`."
    ),
    "request_refused": Advice("The source refused a request.", "Check the address and the server's version."),
    "wrong_identity": Advice(
        "Another server answers at the address.",
        "Correct the address, or add that server as a source; the same server set up anew: --accept-new-identity.",
    ),
    "redirect_loop": Advice("The source redirects without end.", "Give the address that the server itself announces."),
    "foreign_redirect": Advice(
        "The source redirects to another address, where the token would go along.",
        "If that is the real address, make it the source's base URL.",
    ),
    "not_plex": Advice("What answers isn't a Plex server.", "Check the base URL; Plex usually listens on port 32400."),
    "not_jellyfin": Advice("What answers isn't a Jellyfin server.", "Check the base URL; the usual port is 8096."),
    "malformed_answer": Advice(
        "An answer isn't what the source's API promises.",
        "Try again; if it stays, check for a proxy in between and the server's version.",
    ),
    "bad_json": Advice("An answer isn't JSON.", "Try again; if it stays, look for a proxy in between."),
    "no_container": Advice(
        "An answer lacks the list that it should hold.", "Check that the address is the server's own."
    ),
    "truncated_answer": Advice("An answer ended too early.", "Try again; if it stays, look for a proxy in between."),
    "answer_too_large": Advice(
        "An answer is larger than any real page.", "Check that the address is the server's own."
    ),
    "incomplete_enumeration": Advice(
        "What was read isn't proven to be the whole collection; nothing of it was changed.",
        "Try again when the source has finished scanning.",
    ),
    "suspicious_empty": Advice(
        "The source shows nothing where there was something; nothing was changed.",
        "Check mounts and the token's rights; if it is meant, wipe the collection.",
    ),
    "all_rejected": Advice("Nothing that was found can be used.", "Look at the reasons, mostly the path mappings."),
    "discovery_unsupported": Advice("The importer can't list collections.", "Use another type of source."),
    "importer_failed": Advice("The importer has a bug.", "Report it to whoever provides the importer."),
    "importer_timeout": Advice("The importer didn't answer in time.", "Try again, or give it longer with --patience."),
    "importer_blocks": Advice("The importer blocks its event loop.", "Report it to whoever provides the importer."),
    "not_entered": Advice("A client was asked before it was opened.", _REPORT),
    "closed": Advice("A page was given up before it arrived.", "Run it again; nothing of the collection was changed."),
    # Enrichers
    "unsupported_enricher": Advice(
        "No enricher of that type is installed.", "Install it; `retrovue enricher list-types` lists what is there."
    ),
    "enricher_not_compliant": Advice("The enricher can't be used.", "Update or remove the package that provides it."),
    "enricher_does_not_fit": Advice("The enricher can't work for this source.", "Detach it from the collection."),
    "no_enrichers": Advice("The collection has no enricher.", "Attach one with `retrovue collection attach-enricher`."),
    "enricher_given_up": Advice(
        "An enricher gave no answer for too long in a collection, or left too many threads behind.",
        "Mend or detach the enricher; what it owes is tried again at the next ingest.",
    ),
    "enrichment_failed": Advice(
        "An asset can't be enriched.",
        "Mend what the cause says, then run `retrovue collection enrich COLLECTION --retry-failed`.",
    ),
    "no_source": Advice("The enricher needs a source that it can ask.", "Attach it to collections of such a source."),
    "no_guessit": Advice("The program that reads file names isn't installed.", "Install it as the message says."),
    "no_probe": Advice("Neither way to look into media files is installed.", "Install one as the message says."),
    "no_program": Advice("A program isn't installed.", "Install it, or correct the enricher's path to it."),
    "program_timeout": Advice("A program took too long over a file.", "Check the file and the mount it is on."),
    "output_too_large": Advice("A program printed more than makes sense.", "Check the file: it may be damaged."),
    "not_media": Advice("The file can't be read as media.", "Check the file: it may be damaged or still be written."),
    "nfo_of_another": Advice("The NFO file says nothing of this item.", _NFO),
    "nfo_too_large": Advice("The NFO file is too large to be one.", _NFO),
    "nfo_malformed": Advice("The NFO file isn't well-formed.", _NFO),
    "nfo_forbidden": Advice("The NFO file declares entities, which are never read.", _NFO),
    # The catalogue
    "store_error": Advice("The catalogue can't be used.", "Run `retrovue doctor`."),
    "database_unavailable": Advice(
        "The database can't be reached or doesn't answer.", "Check that it runs; `retrovue doctor` looks at it."
    ),
    "database_error": Advice(
        "The database refused, or its driver failed.", "Run `retrovue doctor`; look into its log."
    ),
    "database_too_old": Advice("The database server is older than is supported.", "Use PostgreSQL 14 or newer."),
    "database_read_only": Advice("The database takes no writes.", "Connect to the primary, not to a standby."),
    "database_permission": Advice("The role may not do what is needed.", "Grant it, as the message says."),
    "database_in_use": Advice("Somebody is connected to the test database.", "End what uses it, then try again."),
    "bad_settings": Advice("A catalogue is opened by settings or by an engine.", "Give one of the two."),
    "bad_engine": Advice("The engine isn't one for PostgreSQL by asyncpg.", "Make it with postgresql+asyncpg://…."),
    "embedded_only": Advice(
        "Backups are made of the embedded database alone.", "Use pg_dump and pg_restore with a server of your own."
    ),
    "bad_file": Advice(
        "The file can't be read or written, or isn't a backup.", "Look at its name and its permissions."
    ),
    "file_exists": Advice("The file is there already.", "Choose another name: a backup never replaces one."),
    "backup_failed": Advice("pg_dump or pg_restore failed.", "The message says why; nothing was changed."),
    "bad_database_url": Advice("The database's URL can't be used.", "Write postgresql://user@host/database."),
    "bad_value": Advice("The database refused a value.", _REPORT),
    "transaction_pooling": Advice(
        "The pooler hands connections out by the transaction.", "Connect directly, or set it to pool whole sessions."
    ),
    "pool_too_small": Advice("There are too few connections for the concurrency.", "Lower --concurrency."),
    "too_many_connections": Advice(
        "The server has no connection to spare.", "Lower --concurrency, or raise its limit."
    ),
    "schema_missing": Advice("The database has no schema yet.", "Run `retrovue db upgrade`."),
    "schema_outdated": Advice("The database's schema is behind this program.", "Run `retrovue db upgrade`."),
    "schema_newer": Advice("The database's schema is ahead of this program.", "Install the newer RetroVue."),
    "wrong_database_role": Advice(
        "The database is marked as the other one, production or test.", "Check the two database URLs."
    ),
    "no_test_database": Advice("There is no test database.", "Set RETROVUE_TEST_DATABASE_URL."),
    "test_database_is_production": Advice(
        "The test database would be the production database.", "Correct RETROVUE_TEST_DATABASE_URL."
    ),
    "test_db_only": Advice("The command is for test databases alone.", "Give --test-db."),
    "already_running": Advice(
        "Another command holds the collection.", "Wait for it; `retrovue ingest log` shows what runs."
    ),
    "locks_lost": Advice("The connection that held the locks broke.", "Run it again; nothing unproven was written."),
    "commit_unknown": Advice(
        "The connection broke during COMMIT.", "Look at `retrovue ingest log`, then run the ingest again."
    ),
    # The run
    "interrupted": Advice("A signal, or the host's cancellation, ended it.", "Run it again: what is done stays done."),
    "enrichment_interrupted": Advice(
        "A signal, or the host's cancellation, ended an enrichment; the collection itself is ingested.",
        "The next ingest does what is owed, or `retrovue collection enrich COLLECTION` now.",
    ),
    "internal": Advice("RetroVue has a bug.", _REPORT),
}


def advice(*codes: str) -> str | None:
    """Say what to do about the first of the codes that is known."""
    return next((GUIDE[code].do for code in codes if code in GUIDE), None)
