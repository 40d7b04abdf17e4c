"""Whole-bot flows: the real service, relay, node and clients, over real sockets on this machine."""
