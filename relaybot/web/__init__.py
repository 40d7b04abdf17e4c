"""The public pages, rendered on the server from published events."""
