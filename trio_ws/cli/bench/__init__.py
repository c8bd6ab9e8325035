"""``trio-ws bench``: load on an echo server, and what it makes of it."""
