"""What may be published of the book: the rule that decides it, and what waits for a later day."""
