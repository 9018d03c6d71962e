"""The web page of `retrovue serve` and its HTTP server. Needs the extra ``retrovue[service]``."""
