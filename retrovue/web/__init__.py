"""The page of `retrovue serve`, and the HTTP server that it is served by. Needs the extra ``retrovue[service]``."""
