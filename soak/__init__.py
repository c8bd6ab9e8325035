"""Long runs: a server with everything switched on, hundreds of clients, a network that fails.

``python -m soak`` starts `soak.server` in a process of its own, lets `soak.clients` loose on it,
and reads once a second what the server holds. At the end, `soak.account` says what became of every
message, and `soak.samples` whether anything grew.
"""
