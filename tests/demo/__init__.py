"""The demo, as a user runs it, and how it complains."""
