"""The tree of errors, by whose fault it is.

Rejected: the sender's; it carries words a program can act on. Unavailable: the
world's; try again later. IllegalStep: ours; the process stops clean and restarts.
Nothing here knows who raises it or how it is shown.
"""

from __future__ import annotations


class RelaybotError(Exception):
    """The root of every error this project raises on purpose."""


class Rejected(RelaybotError):
    """What was sent cannot be accepted, and sending it again will not help.

    `prefix` is one of the machine-readable prefixes of NIP-01 and NIP-42 (`invalid`, `duplicate`,
    `blocked`, `rate-limited`, `pow`, `restricted`, `auth-required`, `unsupported`, `error`);
    `reason` is a short stable phrase; `fields` are figures to show beside it.
    """

    def __init__(self, prefix: str, reason: str, **fields: object) -> None:
        """Keep the parts apart; `str()` joins them as NIP-01 wants: `prefix: reason`."""
        super().__init__(prefix, reason, fields)
        self.prefix = prefix
        self.reason = reason
        self.fields = fields

    def __str__(self) -> str:
        """Return `prefix: reason (name=value, …)`, fit for an OK or a CLOSED message, and for every encoding."""
        shown = ", ".join(f"{name}={value}" for name, value in self.fields.items())
        text = f"{self.prefix}: {self.reason}" + (f" ({shown})" if shown else "")
        return text.encode(errors="replace").decode()  # a stranger's lone surrogate is no text


class BadConfig(RelaybotError):
    """A configuration value is refused: where it stands, what was found, what is allowed."""

    def __init__(self, path: str, found: object, allowed: str) -> None:
        """Name the `path` as in config.yaml (`agents.autodev.skills[0]`)."""
        super().__init__(path, found, allowed)
        self.path = path
        self.found = found
        self.allowed = allowed

    def __str__(self) -> str:
        """Return one line an operator can act on."""
        return f"{self.path}: found {self.found!r}; allowed: {self.allowed}"


class Unavailable(RelaybotError):
    """Something outside (a relay, the node, a web host) does not answer now."""


class IllegalStep(RelaybotError):
    """A life cycle was asked for a step its table does not have: a bug of ours."""
