"""The relay, from its pure session to real sockets, clients and kills."""
