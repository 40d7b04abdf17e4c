"""Which compute node gets a job, and what is remembered of how a node works. Pure.

A node that can do a job is chosen among those that waited longest, by what its work has
cost so far: time, doubled for half of the jobs failed, more the busier and the dearer it
is, less the longer it waited. What was measured fades: after some hours a node is judged
as if nobody had seen it, so whoever broke comes back.

A node that failed several times in a row rests: it gets a job only if no other node can
do it, or the job has waited long. Nobody is left out for good: a customer whose jobs break
every node would else stop the service. A node that nobody vouches for is on probation: one
small job at a time, few of them in such hands at once, until enough of them have succeeded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache
from itertools import islice

from relaybot.nostr.encryption import NIP04, NIP44, Scheme
from wallet.money import Msat

WHOLE = 1_000_000  # success in millionths
PRIOR_SUCCESS, PRIOR_MS = 800_000, 5_000  # of a node that was never seen at work
WEIGHT = 8  # a new measure counts for one part in so many
HALF_LIFE_SECONDS = 6 * 3_600  # of what was measured
PAST_SECONDS_MAX = 30 * 86_400  # then nothing of it is left
REST_SECONDS, REST_SECONDS_MAX = 30, 1_800  # after the second failure in a row; doubled with each
FAILURES_FORGIVEN = 1  # in a row: the job may have been at fault
PATIENCE_SECONDS = 60  # a job has waited so long: better a resting node than none
CONSIDERED_MAX = 16  # nodes that are compared for one job: those that waited longest
FAIR_SECONDS, FAIR_MAX = 60, 10  # a node counts as twice as good for each minute it waited, up to so many times
NEWCOMERS_AT_ONCE = 4  # jobs in the hands of nodes on probation, all together


NOTHING = Msat(0)


class Said(Enum):
    """What the operator has said about a node by command."""

    NOTHING = ""
    APPROVED = "approved"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Rules:
    """Which nodes get jobs: `admission` is closed, approved or open; `allowed` stand in the configuration."""

    admission: str
    allowed: frozenset[str]
    open_jobs_max: int
    probation_jobs: int
    probation_price_msat: Msat

    def trusts(self, pubkey: str, said: Said) -> bool:
        """Tell whether somebody vouches for the node."""
        if said is Said.REFUSED:
            return False
        return pubkey in self.allowed or (said is Said.APPROVED and self.admission != "closed")

    def admits(self, pubkey: str, said: Said) -> bool:
        """Tell whether the node may work for us."""
        return self.trusts(pubkey, said) or (self.admission == "open" and said is not Said.REFUSED)

    def refusal_words(self, said: Said) -> str:
        """Return why a node that is not admitted is not."""
        if said is Said.REFUSED:
            return "the operator has refused this node"
        if self.admission == "approved":
            return "this node waits for the operator's approval"
        return "only nodes that the operator has named get jobs (workers.allowed)"


@dataclass(frozen=True, slots=True)
class Record:
    """How a node has worked: counts, moving averages, and until when it rests."""

    done: int = 0
    failed: int = 0
    failures: int = 0  # in a row
    success_ppm: int = PRIOR_SUCCESS
    job_ms: int = PRIOR_MS
    measured_at: int = 0
    rests_until: int = 0

    def faded(self, now: int) -> Record:
        """Return what is left of it now: the averages go back to what is believed of everybody."""
        age = min(max(0, now - self.measured_at), PAST_SECONDS_MAX)
        left = 0.5 ** (age / HALF_LIFE_SECONDS)
        success = PRIOR_SUCCESS + round((self.success_ppm - PRIOR_SUCCESS) * left)
        return replace(self, success_ppm=success, job_ms=PRIOR_MS + round((self.job_ms - PRIOR_MS) * left))

    def after_success(self, seconds: int, now: int) -> Record:
        """Return the record after a job that took so many seconds, from the asking to the result."""
        known = self.faded(now)
        return Record(
            done=self.done + 1,
            failed=self.failed,
            failures=0,
            success_ppm=_moved(known.success_ppm, WHOLE),
            job_ms=_moved(known.job_ms, max(0, seconds) * 1_000),
            measured_at=now,
            rests_until=0,
        )

    def after_failure(self, now: int) -> Record:
        """Return the record after an error, an unusable result, or nothing in time."""
        known, failures = self.faded(now), self.failures + 1
        doublings = min(failures - FAILURES_FORGIVEN - 1, 16)
        rest = min(REST_SECONDS << doublings, REST_SECONDS_MAX) if failures > FAILURES_FORGIVEN else 0
        return Record(
            done=self.done,
            failed=self.failed + 1,
            failures=failures,
            success_ppm=_moved(known.success_ppm, 0),
            job_ms=known.job_ms,
            measured_at=now,
            rests_until=now + rest if rest else 0,
        )


def _moved(average: int, measure: int) -> int:
    return average + (measure - average) // WEIGHT


@dataclass(slots=True)
class Node:
    """A compute node that is there. `open_jobs` and `assigned_at` move on with what it is given."""

    pubkey: str
    kinds: frozenset[int]
    models: frozenset[str] = frozenset()
    least_msat: Msat = NOTHING
    schemes: frozenset[Scheme] = frozenset({NIP44})
    capacity: int = 1  # jobs at once
    is_idle: bool = True
    is_newcomer: bool = False  # on probation
    record: Record = field(default_factory=Record)
    assigned_at: int = 0
    open_jobs: int = 0

    @property
    def is_free(self) -> bool:
        """Tell whether it can take one more job."""
        return self.is_idle and self.open_jobs < self.capacity


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a job needs of a node. `scheme` is the customer's encryption; `worker_msat` the most it pays the node."""

    kind: int
    model: str | None
    scheme: Scheme | None
    price_msat: Msat
    worker_msat: Msat
    held_at: int
    tried: frozenset[str] = frozenset()

    def scheme_for(self, node: Node) -> Scheme:
        """Return how the assignment is encrypted."""
        return NIP44 if NIP44 in node.schemes else NIP04

    def fits(self, node: Node, rules: Rules) -> bool:
        """Tell whether `node` can do the job and may get it, now or later."""
        return (
            self.kind in node.kinds
            and node.pubkey not in self.tried
            and (self.model is None or not node.models or self.model in node.models)
            and node.least_msat <= self.worker_msat
            # What came in NIP-44 is not handed on in the weaker NIP-04.
            and (NIP44 in node.schemes or self.scheme != NIP44)
            and not (node.is_newcomer and self.price_msat > rules.probation_price_msat)
        )


def capacity(rules: Rules, announced: int, *, is_newcomer: bool) -> int:
    """Return how many jobs a node may have at once; `announced` 0: it did not say."""
    return 1 if is_newcomer else min(rules.open_jobs_max, announced or rules.open_jobs_max)


def choose(nodes: Sequence[Node], wanted: Wanted, rules: Rules, now: int) -> Node | None:
    """Return the node that gets the job, out of `nodes` that are there, who waited longest first; None: it waits."""

    @cache
    def newcomers_are_full() -> bool:
        return sum(node.open_jobs for node in nodes if node.is_newcomer) >= NEWCOMERS_AT_ONCE

    def free(*, resting: bool) -> list[Node]:
        fitting = (
            node
            for node in nodes
            if node.is_free
            and (node.record.rests_until > now) is resting
            and not (node.is_newcomer and newcomers_are_full())
            and wanted.fits(node, rules)
        )
        return list(islice(fitting, CONSIDERED_MAX))

    found = free(resting=False)
    if not found:
        is_late = now - wanted.held_at >= PATIENCE_SECONDS
        if not is_late and any(node.record.rests_until <= now and wanted.fits(node, rules) for node in nodes):
            return None  # a better one is busy
        found = free(resting=True)
    return min(found, key=lambda node: _cost(node, wanted, now), default=None)


def could_do(nodes: Iterable[Node], wanted: Wanted, rules: Rules) -> bool:
    """Tell whether any node that is there could do the job, now or later."""
    return any(wanted.fits(node, rules) for node in nodes)


def _cost(node: Node, wanted: Wanted, now: int) -> float:
    known = node.record.faded(now)
    seconds = max(1_000, known.job_ms) / 1_000
    reliable = max(known.success_ppm, WHOLE // 20) / WHOLE
    busy = 1 + node.open_jobs / node.capacity
    dear = 1 + node.least_msat / max(1, wanted.worker_msat)
    waited = min(max(0, now - node.assigned_at) / FAIR_SECONDS, FAIR_MAX)
    return seconds / reliable**2 * busy * dear / (1 + waited)
