"""The service is killed at every border of the story, and the story ends the same."""
