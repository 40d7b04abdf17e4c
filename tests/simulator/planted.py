"""The faults that `mutants.py` plants in the book, in settlements, jobs and events: each in words, and as a change."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault, in words, and the changes that plant it: file, text, other text."""

    name: str
    changes: tuple[tuple[str, str, str], ...]


def one(name: str, file: str, before: str, after: str) -> Mutant:
    """Return a fault that one change plants."""
    return Mutant(name, ((file, before, after),))


_LEDGER = (
    one(
        "an account may fall below its floor",
        "wallet/accounts.py",
        'return 0 if account.startswith(("user/", "org/", "hold/")) and not account.endswith("/owed") else None',
        "return None",
    ),
    one("a Plan's key is not looked at", "wallet/ledger.py", "if plan.key in state.plans:", "if False:"),
    one(
        "a guarded row may have moved",
        "wallet/ledger.py",
        'return f"{moved[0]} has moved" if moved else None',
        "return None",
    ),
    one(
        "one msat is lost on the way",
        "wallet/ledger.py",
        "state.balances.get(credit, 0)) + amount",
        "state.balances.get(credit, 0)) + amount - 1",
    ),
    one(
        "a commit that failed is told as applied",
        "wallet/book.py",
        "done.set_exception(Unavailable(*error.args))",
        "done.set_result(Answer(Verdict.APPLIED))",
    ),
    one(
        "callers are told before the commit",
        "wallet/book.py",
        "            await self.database.change(looks_of(plans, commit.numbers), commit.decide)\n",
        "            looks = looks_of(plans, commit.numbers)\n"
        "            found = {table: await self.database.rows_by_id(table, looks[table].ids) for table in looks}\n"
        "            state = state_of(found)\n"
        "            for (_, done), answer in zip(batch, [judge(state, plan) for plan in plans], strict=True):\n"
        "                done.set_result(answer)\n"
        "            await self.database.change(looks, commit.decide)\n",
    ),
    one(
        "what was written before a failure is committed",
        "relaybot/db/sqlite.py",
        "        except BaseException:\n            self.connection.rollback()",
        "        except BaseException:\n            self.connection.commit()",
    ),
)

_CALL = "            answer = await self._bot.book.decide(lambda: _decide(self._bot, settlement))\n"
_CURSOR = (
    '            read = {"value": settlement.pay_index, "mark": settlement.payment_hash}\n'
    '            moved = written("cursors", SETTLEMENTS, cursors.get(SETTLEMENTS), read)\n'
    '            await self._bot.book.apply(Plan(f"moved/{settlement.pay_index}", changes=(moved,)))\n'
)

_MONEY_IN = (
    Mutant(
        "the cursor moves before the credit",
        (
            ("handlers/settlements.py", _CALL, _CURSOR + _CALL),
            (
                "handlers/settlements.py",
                'if row is not None and row["value"] >= settlement.pay_index:',
                'if row is not None and row["value"] > settlement.pay_index:',
            ),
        ),
    ),
    Mutant(
        "a settlement is credited again after a restart",
        (
            ("handlers/settlements.py", _CALL, _CALL + _CURSOR),
            (
                "handlers/settlements.py",
                "return (await _plan_arrived(bot, settlement)).plan(key, *moved)",
                'return (await _plan_arrived(bot, settlement)).plan(f"{key}/{bot.clock.now()}")',
            ),
        ),
    ),
    one(
        "what was asked is credited, not what arrived",
        "handlers/settlements.py",
        "return paid + await _plan_asked(bot, settlement.amount_msat, invoice)",
        'return paid + await _plan_asked(bot, invoice["amount_msat"], invoice)',
    ),
    one(
        "money for a job that has ended starts it again",
        "handlers/credits.py",
        'goes_on = JobState(job["state"]) is JobState.AWAITING_PAYMENT and spendable >= job["price_msat"]',
        'goes_on = spendable >= job["price_msat"]',
    ),
)

_JOBS = (
    one(
        "a release forgets the escrow",
        "handlers/jobs.py",
        "return plan_release(escrow).plan(f\"{cause_of(job['id'])}/release\", *changes)",
        "return Plan(f\"{cause_of(job['id'])}/release\", (), tuple(changes))",
    ),
    one(
        "anybody may cancel a job",
        "handlers/cancelling.py",
        'own = job["customer"] == customer and JobState(job["state"]) in OPEN_STATES',
        'own = JobState(job["state"]) in OPEN_STATES',
    ),
    one(
        "a finished job may be cancelled",
        "handlers/cancelling.py",
        'own = job["customer"] == customer and JobState(job["state"]) in OPEN_STATES',
        'own = job["customer"] == customer',
    ),
    one(
        "a job changes whatever has happened to it",
        "handlers/jobs.py",
        '        {"state": state.value, "updated_at": bot.clock.now(), **values},\n'
        '        expect={"version": job["version"]},',
        '        {"state": state.value, "updated_at": bot.clock.now(), **values},\n        expect={},',
    ),
    one(
        "an old request is worked",
        "handlers/jobs.py",
        "if lives_until <= now:",
        "if False:",
    ),
    one(
        "what the charge did not need is kept",
        "wallet/charges.py",
        'return Journal((*transfers, *_given_back(escrow, unused, "unused")), changes)',
        "return Journal((*transfers,), changes)",
    ),
    one(
        "a result is charged above the bid",
        "handlers/assignments.py",
        '.price_for(result.usage, bid_msat=job["price_msat"])',
        ".price_for(result.usage, bid_msat=None)",
    ),
    one(
        "any key may deliver for a node",
        "handlers/assignments.py",
        'if event.pubkey != assignment["worker"]:',
        "if False:",
    ),
    one(
        "a node that lost the job is paid",
        "handlers/assignments.py",
        'if JobState(job["state"]) not in OPEN_STATES or job["assignment"] != assignment["id"]:',
        'if JobState(job["state"]) not in OPEN_STATES:',
    ),
    one(
        "a deadline is noticed once only: nobody looks again",
        "handlers/assignments.py",
        "return await on_due(bot, job) if job is not None and _is_due(bot, job) else None",
        "return None",
    ),
    one(
        "jobs that wait for payment never end",
        "handlers/jobs.py",
        "*_new_job(bot, agent, event, JobStep.ASK, price=price, due_at=now + seconds, invoice=label),",
        "*_new_job(bot, agent, event, JobStep.ASK, price=price, due_at=now + seconds * 1_000_000, invoice=label),",
    ),
)

_EVENTS = (
    one(
        "an event is done without its mark",
        "relaybot/inbox.py",
        "return replace(decision, changes=(*decision.changes, handled(event.id, decision.key, version)))",
        "return replace(decision, changes=decision.changes)",
    ),
    Mutant(
        "an event is marked as done before it is handled",
        (
            (
                "relaybot/inbox.py",
                "        try:\n            decision = await self._handler(event.kind)(event)",
                (
                    '        early = Update("inbox", event.id, {"state": "done"}, expect={})\n'
                    '        await self._book.apply(Plan(f"inbox/{event.id}/early", changes=(early,)))\n'
                    "        try:\n            decision = await self._handler(event.kind)(event)"
                ),
            ),
            (
                "relaybot/inbox.py",
                '{"state": "done", "note": storable}, expect=guard)',
                '{"state": "done", "note": storable}, expect={})',
            ),
        ),
    ),
    one(
        "what the relay stored before a death is not read again",
        "relaybot/reader.py",
        "        await self._read_stored(filters)\n\n    async def keep_up_own",
        "\n    async def keep_up_own",
    ),
    one(
        "what could not be taken when it came is not read again",
        "relaybot/reader.py",
        "            self._missed = True\n            raise\n\n    async def read_own",
        "            raise\n\n    async def read_own",
    ),
    one(
        "relays are read again without an overlap",
        "relaybot/reader.py",
        "OVERLAP_SECONDS = 15 * 60\n",
        "OVERLAP_SECONDS = 0\n",
    ),
    one(
        "a command is done as often as it arrives",
        "handlers/commands.py",
        'return Plan(f"dm/{said.rumor}"',
        'return Plan(f"dm/{said.rumor}/{bot.clock.now()}"',
    ),
    one(
        "an event that no relay took is called sent",
        "relaybot/outbox.py",
        '        return f"unavailable: {error}"\n',
        "        return None\n",
    ),
    one(
        "a refusal for now is taken for good",
        "relaybot/outbox.py",
        'REFUSED_FOR_GOOD = ("invalid",',
        'REFUSED_FOR_GOOD = ("rate-limited", "invalid",',
    ),
    one(
        "what is owed about one thing goes out in any order",
        "handlers/bot.py",
        "return tuple(owed(event, now, place) for place, event in enumerate(events))",
        "return tuple(owed(event, now, -place) for place, event in enumerate(events))",
    ),
)

_CARDS = (
    one(
        "a dispute leaves the lots as they were",
        "wallet/deposits.py",
        '            transfers.append(Transfer(lot.account, CARD_RECEIVABLE, part, f"disputed:{deposit.id}"))\n'
        "            changes.append(_taken(lot, part))\n",
        '            transfers.append(Transfer(lot.account, CARD_RECEIVABLE, part, f"disputed:{deposit.id}"))\n',
    ),
    one(
        "a part that is disputed takes the whole payment",
        "wallet/deposits.py",
        "disputed = deposit.amount_msat if amount_msat is None else amount_msat",
        "disputed = deposit.amount_msat",
    ),
    one(
        "what comes back of a disputed payment stays where it is",
        "handlers/lots.py",
        "    if not collected.transfers:",
        "    if True:",
    ),
    one(
        "a dispute that is won brings sats back for what was paid by card",
        "wallet/deposits.py",
        "(user(deposit.pubkey), Msat(max(0, debt.repaid_msat - others)))",
        "(user(deposit.pubkey), left)",
    ),
)

_MORE_CARDS = (
    one(
        "a second refund of a part takes the first part again",
        "wallet/deposits.py",
        "left = Msat(disputed - before)",
        "left = disputed",
    ),
    one(
        "a part that comes back of a refund is given back as a whole",
        "wallet/deposits.py",
        "back = Msat(deposit.disputed_msat - amount_msat)",
        "back = deposit.disputed_msat",
    ),
)

_EXITS = (
    Mutant(
        "whose withdrawals are closed is paid all the same",
        (
            ("handlers/withdrawals.py", 'if row["withdrawals"] != "open":', "if False:"),
            (
                "wallet/obstacles.py",
                'if owner is None or owner["withdrawals"] != "open":',
                "if owner is None:",
            ),
            (
                "wallet/payout_plans.py",
                'Expect("users", payout["pubkey"], {"withdrawals": "open"}),',
                'Expect("users", payout["pubkey"], {}),',
            ),
        ),
    ),
    one(
        "an app may spend more than its budget",
        "handlers/wallet_connect.py",
        'if connection["budget_msat"] is not None and used + amount > connection["budget_msat"]:',
        "if False:",
    ),
    one(
        "an app is not told how its payment ended",
        "handlers/wallet_connect.py",
        "        changes += _told(bot, connection, request, _paid(found))\n",
        "",
    ),
)

ELSEWHERE = (*_LEDGER, *_MONEY_IN, *_JOBS, *_EVENTS, *_CARDS, *_MORE_CARDS, *_EXITS)
