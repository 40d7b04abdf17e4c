"""Are the books right: every invariant, and the node's movements against ours."""

from __future__ import annotations

from relaybot.config import Config
from relaybot.errors import Unavailable
from relaybot.operator.opening import Answer, opened
from wallet.book import invariants, loose_ends
from wallet.cln import CoreLightning
from wallet.reconcile import reconcile


async def check_books(config: Config) -> Answer:
    """Check every invariant, and the node's movements against ours."""
    async with opened(config) as book, book.database.snapshot() as reader:
        broken = [*await invariants(reader), *await loose_ends(reader)]
        node = CoreLightning(config.lightning.socket)
        try:
            found = await reconcile(reader, node)
            differences = [str(one) for one in found.differences]
            node_said = "agrees" if not differences else "differs"
        except Unavailable as error:
            differences, node_said = [], f"not compared: {error}"
        finally:
            await node.close()
        counts = await reader.fetch("SELECT COUNT(*) AS transfers FROM transfers")
    return {
        "sound": not broken and not differences,
        "broken": broken,
        "node": node_said,
        "differences": differences,
        "transfers": counts[0]["transfers"],
    }
