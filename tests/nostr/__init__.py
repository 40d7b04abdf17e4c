"""Tests of relaybot/nostr: vectors of the NIPs, another implementation as an oracle, hostile bytes."""
