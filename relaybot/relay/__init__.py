"""The embedded relay: a pure session, an event store, live subscriptions, and the server that joins them."""
