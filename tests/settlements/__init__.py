"""Money that arrives, and the money of a job: credited once, held, captured, given back."""
