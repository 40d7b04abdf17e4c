"""Two service processes on one book, killed at random under load: nothing lost, doubled or stuck."""
