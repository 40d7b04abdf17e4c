"""Paying to Lightning Addresses and LNURLs."""
