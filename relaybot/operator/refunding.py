"""Paying a job back by hand."""

from __future__ import annotations

import secrets

from handlers.refunds import plan_refunded
from relaybot.clock import SystemClock
from relaybot.config import Config
from relaybot.errors import Rejected
from relaybot.keyring import Keyring
from relaybot.operator.opening import Answer, opened
from relaybot.workings import build_bot
from wallet.book import transfers_of
from wallet.cln import CoreLightning
from wallet.cln_chain import CoreLightningChain
from wallet.ledger import Verdict


async def refund_job(config: Config, keyring: Keyring, job_id: str) -> Answer:
    """Pay a finished job back, once; the service sends the customer's message. Rejected if it cannot be."""
    async with opened(config) as book:
        node, chain = CoreLightning(config.lightning.socket), CoreLightningChain(config.lightning.socket)
        bot = build_bot(config, keyring, book, node, SystemClock(), chain=chain, chance=secrets.token_bytes)
        try:
            answer = await book.decide(lambda: plan_refunded(bot, job_id))
        finally:
            await node.close()
            await chain.close()
        if not answer.done:
            raise Rejected("error", "the book did not take it", detail=answer.reason)
        transfers = await transfers_of(book.database, f"job/{job_id}/refund")
    return {
        "job": job_id,
        "refunded_now": answer.verdict is Verdict.APPLIED,
        "refunded_msat": sum(row["amount_msat"] for row in transfers),
        "to": {row["credit"]: row["amount_msat"] for row in transfers},
    }
