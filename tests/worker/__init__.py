"""The compute node, from its first word to its last result."""
