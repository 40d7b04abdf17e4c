"""Real Core Lightning nodes on a chain of our own making: the rig of `make test-cln`."""
