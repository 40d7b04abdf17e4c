"""`make bench-relay`: relays under the same load, in turns; docs/performance.md says how and what came out."""
