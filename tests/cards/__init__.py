"""Top-ups by card: the rules, the adapter against the simulated company, the page, the attacks."""
