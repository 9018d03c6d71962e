"""Codes of requests that can't be carried out, of settings and of secrets."""

from collections.abc import Mapping

from retrovue.core.guide.advice import Advice

_HELP = "Read the command's --help."

REQUESTS: Mapping[str, Advice] = {
    # Requests
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
    "request_not_found": Advice(
        "No such run was requested from workers, or it ended long ago.",
        "Look at the runs: `retrovue ingest log --runs`.",
    ),
    "enricher_not_found": Advice("The catalogue has no such enricher.", "List them: `retrovue enricher list`."),
    "ambiguous": Advice("Several objects have that name.", "Use an id instead of the name."),
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
    "bad_cursor": Advice("The cursor isn't one of this list.", "Take the cursor of the page before, or none."),
    "cursor_expired": Advice(
        "The feed of changes can't be read from this cursor: it is older than what is kept, or of another feed.",
        "Read all assets again, then follow the feed without a cursor.",
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
    "bad_relink": Advice(
        "These two assets can't be relinked.",
        "Name an asset that is missing or gone, then the one that has its item; `retrovue asset relink` lists pairs.",
    ),
    "bad_adoption": Advice(
        "A collection can't take the place of the other one.", "Read the message; nothing was changed."
    ),
    "removals_held_back": Advice(
        "A sync found assets that aren't listed any more, and a guard held their removal back.",
        "Check the source. If they were really removed, run the sync again with --confirm-removals TOKEN.",
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
}
