"""Companies: their rules, their commands, and attacks on their money."""
