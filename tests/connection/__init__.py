"""Our end of a relay connection, against relays that behave and relays that do not."""
