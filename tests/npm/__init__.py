"""Clients of others that live in Node, against our relay; skipped where there is no Node."""
