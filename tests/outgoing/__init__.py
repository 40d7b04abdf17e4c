"""Fetching what strangers name: addresses, and the one guarded client."""
