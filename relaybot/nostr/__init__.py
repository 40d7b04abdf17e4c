"""Nostr's words: events, keys, filters, messages and the NIPs' formats. Pure: no sockets, no clock, no storage."""
