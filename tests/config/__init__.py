"""The configuration: what is read, what is refused, and that file, code and docs say the same."""
