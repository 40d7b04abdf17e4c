"""The simulator's way to the node is the port: the adapter's own contract suite runs on it."""

from __future__ import annotations

from tests.lightning.test_cln_contract import *  # noqa: F403  every test of the suite, with our fixtures
