"""Are the books right: every invariant, and the node's movements against ours."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from relaybot.config import Config
from relaybot.errors import Rejected, Unavailable
from relaybot.operator.opening import Answer, opened
from wallet.audit import unsound
from wallet.book import loose_ends
from wallet.cln import CoreLightning
from wallet.cln_chain import CoreLightningChain
from wallet.ledger import Verdict
from wallet.reconcile import own_difference
from wallet.under_way import compare


async def check_books(config: Config) -> Answer:
    """Check every invariant, and the node's movements against ours."""
    async with opened(config) as book, book.database.snapshot() as reader:
        broken = [*await unsound(reader), *await loose_ends(reader)]
        differences: list[str] = []
        unbooked: dict[str, str] = {}
        try:
            async with _node(config) as (lightning, chain):
                found = await compare(reader, lightning, chain)
            differences, unbooked = [str(one) for one in found.differences], found.unbooked
            node_said = "agrees" if not differences else "differs"
        except Unavailable as error:
            node_said = f"not compared: {error}"
        counts = await reader.fetch("SELECT COUNT(*) AS transfers FROM transfers")
    return {
        "sound": not broken and not differences,
        "broken": broken,
        "node": node_said,
        "differences": differences,
        "unbooked": [f"{key}: {left}" for key, left in unbooked.items()],
        "transfers": counts[0]["transfers"],
    }


async def own(config: Config, key: str) -> Answer:
    """Book a difference between the node and us as the operator's own doing. Rejected if there is none."""
    async with opened(config) as book, _node(config) as (lightning, chain):
        plan = await own_difference(book, lightning, chain, key)
        answer = await book.apply(plan)
        if answer.verdict is not Verdict.APPLIED:
            raise Rejected("error", "the book did not take it", detail=answer.reason or answer.verdict.value)
    return {"owned": key, "transfers": [f"{one.debit} -> {one.credit}: {one.amount_msat}" for one in plan.transfers]}


@contextlib.asynccontextmanager
async def _node(config: Config) -> AsyncIterator[tuple[CoreLightning, CoreLightningChain]]:
    lightning, chain = CoreLightning(config.lightning.socket), CoreLightningChain(config.lightning.socket)
    try:
        yield lightning, chain
    finally:
        await lightning.close()
        await chain.close()
