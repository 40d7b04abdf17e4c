"""After the node was restored from a backup: its settlements are read again from the first one."""

from __future__ import annotations

from handlers.settlements import CHANGES
from relaybot.config import Config
from relaybot.operator.opening import Answer, opened
from wallet.ledger import Plan, Put, Values
from wallet.under_way import SETTLEMENTS


async def reread_settlements(config: Config) -> Answer:
    """Set the cursor back to the beginning. What is in the book by its payment hash is not credited again."""
    async with opened(config) as book:
        row = await book.row("cursors", SETTLEMENTS)
        version = row["version"] if row is not None else 0
        fresh: Values = {"value": 0, "mark": ""}
        changes = tuple(Put("cursors", name, fresh) for name in (SETTLEMENTS, CHANGES))
        answer = await book.apply(Plan(f"cursors/{SETTLEMENTS}/reread/{version}", changes=changes))
        return {"reread": answer.done, "read_to_before": row["value"] if row is not None else 0}
