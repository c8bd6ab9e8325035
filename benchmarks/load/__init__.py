"""The load generator: raw sockets, epoll, and frames made beforehand, in a process of its own."""
