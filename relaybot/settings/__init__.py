"""The sections of the configuration, their values, and how they are read. `relaybot/config.py` puts them together."""
