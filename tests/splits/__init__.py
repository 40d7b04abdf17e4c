"""The split language, its proof of every sum, and what it pays."""
