"""Codes of the catalogue's database, and of a run as a whole."""

from collections.abc import Mapping

from retrovue.core.guide.advice import REPORT, Advice

CATALOGUE: Mapping[str, Advice] = {
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
    "database_refused": Advice(
        "The database refused the user or the password.", "Check user and password in the database's URL or in .pgpass."
    ),
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
    "bad_value": Advice("The database refused a value.", REPORT),
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
    "job_engine_version": Advice(
        "The tables of the job engine are of another version than the installed engine.",
        "Reinstall RetroVue with its extra 'service', and run `retrovue db upgrade`.",
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
        "Resolve the failures, and run `retrovue collection enrich COLLECTION --retry-failed`; or approve the"
        " assets as they are with `retrovue asset approve UUID --despite-enrichment`.",
    ),
    "enrichment_interrupted": Advice(
        "A signal or the host program interrupted an enrichment. The collection itself is ingested.",
        "Run `retrovue collection enrich COLLECTION`, or leave it to the next ingest.",
    ),
    "internal": Advice("RetroVue has a bug.", REPORT),
}
