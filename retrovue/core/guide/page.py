"""Codes of `serve` and its web page."""

from collections.abc import Mapping

from retrovue.core.guide.advice import Advice

PAGE: Mapping[str, Advice] = {
    "not_running": Advice("The run isn't at work, or began within the last second.", "See `retrovue ingest show RUN`."),
    "no_service_extra": Advice(
        "Packages that a service needs aren't installed.", "Install them: pip install 'retrovue[service]'."
    ),
    "page_token_needed": Advice(
        "The page would be open to other machines.",
        "Set RETROVUE_PAGE_TOKEN, or serve at 127.0.0.1 and reach it through a tunnel.",
    ),
    "bad_page_token": Advice("The token of the page is too short.", "Make one: openssl rand -hex 16."),
    "bad_port": Advice("The port can't be used.", "Give a whole number from 0 to 65,535."),
    "address_taken": Advice(
        "Another program, or another host of the same machine, serves at the address.",
        "Give another --port, or end that program; --no-page serves without the page.",
    ),
    "bad_address": Advice(
        "Nothing can be served at the address.", "Give the address of an interface of this machine: --host 127.0.0.1."
    ),
    "bad_host": Advice(
        "The page was requested by a host name that isn't allowed, as in an attack by DNS rebinding.",
        "Use the address that `retrovue serve` prints, or start it with --allow-host NAME.",
    ),
    "other_origin": Advice("A request to the page came from another website.", "Use the page itself."),
    "too_often": Advice("A client sends too many requests to the page.", "Wait a few seconds."),
    "token_needed": Advice("The page needs a token.", "Sign in, or send the header Authorization: Bearer TOKEN."),
    "too_large": Advice("A request to the page is larger than any of its forms.", "Send less."),
    "bad_webhook": Advice(
        "The body of a webhook isn't what its kind sends.",
        "Check that the address has the kind of its sender: plex, sonarr or radarr.",
    ),
    "bad_webhook_secret": Advice(
        "The secret of webhooks can't be used.", "Set RETROVUE_WEBHOOK_SECRET to 16 letters and digits or more."
    ),
}
