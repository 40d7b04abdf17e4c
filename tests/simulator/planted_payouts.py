"""The faults that are planted in payouts: how a payment that is unknown, slow or lost can cost money."""

from __future__ import annotations

from tests.simulator.planted import Mutant, one

IN_PAYOUTS = (
    one(
        "what is unknown is taken for failed",
        "wallet/payout_plans.py",
        "if evidence and _is_definite(attempt, evidence, since, rules, now):",
        "if found.report.state is not PaymentState.PENDING:",
    ),
    one(
        "what is pending is taken for failed",
        "wallet/payout_plans.py",
        "if evidence and _is_definite(attempt, evidence, since, rules, now):",
        "if found.report.state is PaymentState.PENDING or (\n"
        "        evidence and _is_definite(attempt, evidence, since, rules, now)\n    ):",
    ),
    one(
        "what is pending is taken for paid",
        "wallet/payout_plans.py",
        "if found.report.state is PaymentState.SETTLED:",
        "if found.report.state in {PaymentState.SETTLED, PaymentState.PENDING}:",
    ),
    one(
        "one failed attempt is an end while the call still looks for routes",
        "wallet/payout_plans.py",
        'if evidence == FAILED and now < attempt["sent_at"] + rules.call_seconds:',
        "if False:",
    ),
    one(
        "an HTLC on its way is not looked for",
        "wallet/payouts.py",
        "in_flight = payment_hash in await self._lightning.htlc_hashes()",
        "in_flight = False",
    ),
    one(
        "a node that catches up is believed",
        "wallet/payouts.py",
        "synced = (await self._lightning.info()).synced",
        "synced = True",
    ),
    one(
        "empty records mean failed at once",
        "wallet/payout_plans.py",
        'return bool(now - since >= seconds and now - attempt["expires_at"] >= seconds)',
        "return True",
    ),
    Mutant(
        "another invoice is paid while the first payment is unknown",
        (
            (
                "wallet/payouts.py",
                "                    await self._inquire(payout, attempt)",
                "                    await self._prepare(payout)",
            ),
            (
                "wallet/states.py",
                "        (PayoutState.PAYING, PayoutStep.PAY): PayoutState.PAID,",
                (
                    "        (PayoutState.PAYING, PayoutStep.PREPARE): PayoutState.PAYING,\n"
                    "        (PayoutState.PAYING, PayoutStep.STOP): PayoutState.STOPPED,\n"
                    "        (PayoutState.PAYING, PayoutStep.PAY): PayoutState.PAID,"
                ),
            ),
        ),
    ),
    one(
        "the call is made before it is noted",
        "wallet/payouts.py",
        "            answer = await self._book.apply(plan_sent(payout, attempt, self._rules, self._clock.now()))\n",
        '            fee = Msat(payout["reserve_msat"])\n'
        '            await self._lightning.pay(attempt["bolt11"], maxfee_msat=fee, label=f"payout/{payout[\'id\']}")\n'
        "            answer = await self._book.apply(plan_sent(payout, attempt, self._rules, self._clock.now()))\n",
    ),
    one(
        "the reserve that was not needed is kept",
        "wallet/payout_plans.py",
        '        (escrow, owner, payout["reserve_msat"] - charged, "reserve not needed"),\n',
        "",
    ),
    one(
        "the platform bears every routing fee",
        "wallet/payout_plans.py",
        'charged = min(fee, payout["reserve_msat"])',
        "charged = 0",
    ),
    one(
        "a payment may cost more than its reserve",
        "wallet/payouts.py",
        'maxfee_msat=Msat(payout["reserve_msat"]),',
        'maxfee_msat=Msat(payout["reserve_msat"] * 3),',
    ),
    one(
        "a failed attempt gives the money back and goes on",
        "wallet/payout_plans.py",
        '    transfers, change = _after_failure(payout, reason, payout["attempts"], rules, single=single, now=now)',
        '    transfers, change = _after_failure(payout, reason, payout["attempts"], rules, single=single, now=now)\n'
        '    amount = Msat(payout["amount_msat"])\n'
        '    transfers = (Transfer(hold(cause_of(payout["id"])), user(payout["pubkey"]), amount, "back"),)',
    ),
    one(
        "a payout that waits is forgotten",
        "wallet/payout_queue.py",
        "WHERE (next_at <= :now OR next_at > :latest) AND rail = :rail",
        "WHERE (next_at <= :now OR next_at > :latest) AND rail = :rail AND state <> 'waiting'",
    ),
    one(
        "a withdrawal is held without its fee reserve",
        "wallet/opening.py",
        'held = Transfer(user(owner["id"]), hold(cause_of(payout_id)), Msat(amount + reserve), "hold")',
        'held = Transfer(user(owner["id"]), hold(cause_of(payout_id)), amount, "hold")',
    ),
    Mutant(
        "a withdrawal to a used invoice is tried again with it, however late",
        (
            (
                "wallet/payout_plans.py",
                'single = attempt["bolt11"] == payout["target"]',
                'single = attempt["bolt11"] == ""',
            ),
            (  # else it is too late for another try: a failure is certain after three minutes only
                "wallet/payout_plans.py",
                '    return asked and bool(now - payout["created_at"] >= rules.withdrawal_seconds)',
                "    return False",
            ),
            (
                "wallet/payout_plans.py",
                'Insert("attempts", invoice.payment_hash, attempt))',
                'Put("attempts", invoice.payment_hash, attempt))',
            ),
        ),
    ),
    one(
        "a payment hash may settle a second payout",
        "wallet/payout_plans.py",
        'Insert("attempts", invoice.payment_hash, attempt))',
        'Put("attempts", invoice.payment_hash, attempt))',
    ),
    one(
        "nobody looks at balances after they were paid",
        "handlers/assignments.py",
        "        *check_payouts([part.to for part in parts if part.to is not None], now),\n",
        "",
    ),
)
