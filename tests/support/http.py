"""What clients of servers without TLS need."""

import ssl

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For httpx, which would read all the certificates of the system for each client: some 20 ms."""
