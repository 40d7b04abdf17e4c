"""Use cases: what happens when an event arrives. Read, decide by pure rules, return one Plan."""
