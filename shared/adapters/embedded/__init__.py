"""Adapters of the one-machine system: a worker loop, threads, sockets and a key file."""
