"""Floor 0: money, account names, errors, life cycles, clocks, and the libraries under all of it."""
