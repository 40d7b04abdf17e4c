"""The faults that are planted in companies, in jobs by message, and in what is sent on the chain."""

from __future__ import annotations

from tests.simulator.planted import Mutant, one

IN_COMPANIES = (
    Mutant(
        "a member may spend more than the budget",
        (
            ("handlers/companies.py", "if budget is not None and used + price > budget:", "if False:"),
            ("handlers/companies.py", '"msat", price, at_most=budget)', '"msat", price, at_most=None)'),
        ),
    ),
    one(
        "a job above the company's limit waits for nobody",
        "handlers/jobs.py",
        "if limit is None or price <= limit:",
        "if True:",
    ),
    one(
        "anybody's jobs are paid by a company",
        "handlers/companies.py",
        "found is None or not belongs or found",
        "found is None or found",
    ),
    one(
        "what a company's job did not cost is its member's",
        "handlers/companies.py",
        'return company(job["company"]) if job["company"] else person(job["customer"])',
        'return person(job["customer"])',
    ),
    one(
        "a transaction is booked before it is deep enough",
        "wallet/batches.py",
        'depth >= batch["needs"]',
        "depth >= 1",
    ),
    one(
        "nobody who is paid bears the fee of a transaction",
        "wallet/journals.py",
        '            (escrow, NODE_ONCHAIN, Msat(paid), "fee"),\n'
        '            (escrow, FEES, Msat(charged - paid), "fee rounded up"),\n'
        '            (escrow, of(output.owner), Msat(output.reserve_msat - charged), "reserve not needed"),',
        '            (FEES, NODE_ONCHAIN, Msat(paid), "fee"),\n'
        '            (escrow, of(output.owner), output.reserve_msat, "reserve not needed"),',
    ),
    one(
        "what the chain took back is not sent again",
        "wallet/batches.py",
        "        if answer.verdict is Verdict.APPLIED:\n            await self._broadcast(batch)\n        return False",
        "        return False",
    ),
)
