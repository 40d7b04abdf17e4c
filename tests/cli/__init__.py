"""The command line, as an operator uses it beside a running service."""
