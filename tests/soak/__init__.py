"""Hours in minutes: a relay under a mixed load for as long as one likes, and its memory meanwhile (`make soak`)."""
