"""The hub without sockets: publishing and listening inside the process."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from relaybot.clock import SetClock
from relaybot.errors import Unavailable
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.nostr.messages import Ok
from relaybot.relay import hub as hub_module
from relaybot.relay.event_writes import Arrival
from relaybot.relay.events import Done, EventStore
from relaybot.relay.feeds import Feed
from relaybot.relay.hub import Hub
from relaybot.relay.settings import RelayLimits
from tests.relay.authors import NOW, in_order, note, obj, raw
from tests.relay.test_queries import answer

import msgspec
