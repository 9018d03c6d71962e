"""Codes of enrichers and of enrichments that fail."""

from collections.abc import Mapping

from retrovue.core.guide.advice import Advice

_NFO = "Correct or remove the NFO file, then run `retrovue collection enrich COLLECTION --retry-failed`."

ENRICHERS: Mapping[str, Advice] = {
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
        "Check whether it is still being written. If not, rewrite it, e.g. with `ffmpeg -i IN -c copy OUT`.",
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
}
