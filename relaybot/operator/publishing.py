"""Publishing the accounts of a day by hand."""

from __future__ import annotations

from datetime import UTC, datetime

from relaybot.accounting.publishing import publish_day
from relaybot.clock import SystemClock
from relaybot.config import Config
from relaybot.keyring import Keyring
from relaybot.operator.opening import Answer, opened
from relaybot.workings import accounting_rules


async def publish_accounts(config: Config, keyring: Keyring, day: str | None) -> Answer:
    """Publish the accounts of one UTC day now (today, if none is named): it is done once."""
    now = SystemClock().now()
    day = day or datetime.fromtimestamp(now, UTC).date().isoformat()
    async with opened(config) as book:
        published = await publish_day(book, keyring.key("books"), accounting_rules(config), day, now=now)
        row = await book.row("summaries", day)
    return {"day": day, "published_now": published, "event": row["event"] if row is not None else None}
