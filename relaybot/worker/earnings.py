"""What the node's operator is told of its earnings, by the service's pay slips.

A slip says all that was earned since the beginning, so the journal keeps the newest only: a
slip that comes again, or after a newer one, adds nothing to what is told.
"""

from __future__ import annotations

import structlog

from relaybot.errors import Rejected
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.nostr.nip90 import FEEDBACK_KIND
from relaybot.nostr.pay_slips import TOPIC, PaySlip, parse_pay_slip
from relaybot.worker.journal import Journal
from relaybot.worker.settings import WorkerSettings
from wallet.money import format_sat

log = structlog.get_logger()


class Earnings:
    """What one service has said that this node earned."""

    def __init__(self, settings: WorkerSettings, journal: Journal) -> None:
        self._settings = settings
        self._journal = journal

    def filters(self) -> list[Filter]:
        """Return what is asked of a relay: the newest slip, and those that come."""
        return [
            Filter(
                kinds=frozenset({FEEDBACK_KIND}),
                authors=frozenset({self._settings.service_pubkey}),
                tags={"p": frozenset({self._settings.keypair.pubkey}), "t": frozenset({TOPIC})},
                limit=1,
            )
        ]

    def tell_known(self) -> None:
        """Say what was earned up to now, if anything was."""
        known = self._journal.earned(self._settings.service_pubkey)
        if known.jobs:
            log.info("earned_so_far", jobs=known.jobs, amount=format_sat(known.earned_msat))

    async def on_slip(self, event: Event) -> None:
        """Hear a slip. The connection has checked its signature, author and addressee."""
        try:
            slip = parse_pay_slip(event, self._settings.keypair)
        except Rejected as problem:
            log.warning("pay_slip_malformed", event_id=event.id, reason=problem.reason)
            return
        before = self._journal.earned(event.pubkey)
        if slip.jobs > before.jobs:
            self._journal.note_earned(event.pubkey, slip)
            self._tell(slip, before)

    def _tell(self, slip: PaySlip, before: PaySlip) -> None:
        log.info(
            "earned",
            jobs=slip.jobs - before.jobs,
            amount=format_sat(slip.earned_msat - before.earned_msat),
            jobs_in_all=slip.jobs,
            in_all=format_sat(slip.earned_msat),
        )
