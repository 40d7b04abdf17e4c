"""`python -m relaybot` is the `relaybot` command."""

from relaybot.cli import main

main()
