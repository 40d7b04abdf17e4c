"""Paying a job back by hand."""

from __future__ import annotations

from functools import partial

from handlers.refunds import plan_refunded
from relaybot.config import Config
from relaybot.keyring import Keyring
from relaybot.operator.opening import Answer, decide, opened_bot
from wallet.book import transfers_of


async def refund_job(config: Config, keyring: Keyring, job_id: str) -> Answer:
    """Pay a finished job back, once; the service sends the customer's message. Rejected if it cannot be."""
    async with opened_bot(config, keyring) as bot:
        taken = await decide(bot, partial(plan_refunded, bot, job_id))
        transfers = await transfers_of(bot.book.database, f"job/{job_id}/refund")
    return {
        "job": job_id,
        "refunded_now": taken["done_now"],
        "refunded_msat": sum(row["amount_msat"] for row in transfers if row["reason"] == "refund"),
        "to": {row["credit"]: row["amount_msat"] for row in transfers if row["reason"] == "refund"},
        "referrals_back_msat": sum(row["amount_msat"] for row in transfers if row["reason"] != "refund"),
    }
