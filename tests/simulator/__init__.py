"""The whole bot in one thread, on a time that jumps, by chance that is seeded; docs/testing.md explains it."""
