"""NIP-89 announcements, NIP-40 expiry and heartbeats."""

from __future__ import annotations

import pytest

from relaybot.errors import Rejected
from relaybot.nostr import nip89
from relaybot.nostr.encryption import NIP04, NIP44
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair, verify
from relaybot.nostr.nip40 import parse_expiration
from tests.nostr.conftest import NOW
from wallet.money import Msat

Tags = tuple[tuple[str, ...], ...]


def test_an_agent_announces_its_price_and_kinds(alice: KeyPair) -> None:
    event = nip89.build_announcement(
        alice, identifier="autodev", kinds={5051, 5050}, name="AutoDev", about="é", price_msat=12_000_000, now=NOW
    )
    assert verify(event)
    assert event.tags == (("d", "autodev"), ("k", "5050"), ("k", "5051"), ("price", "12000000", "msat"))
    assert event.content == '{"name":"AutoDev","about":"é"}'
    assert nip89.parse_announcement(event) == nip89.Announcement(
        alice.pubkey,
        "autodev",
        frozenset({5050, 5051}),
        "AutoDev",
        "é",
        12_000_000,  # type: ignore[arg-type] # money in a test
    )


def test_an_agents_announcement_may_say_little(alice: KeyPair) -> None:
    event = nip89.build_announcement(alice, identifier="a", kinds=(), name="", about="", now=NOW)
    assert nip89.parse_announcement(event).price_msat is None
    bare = alice.sign(kind=31990, content="", tags=(), created_at=NOW)
    assert nip89.parse_announcement(bare) == nip89.Announcement(alice.pubkey, "", frozenset(), "", "", None)


def test_a_compute_node_announces_itself_to_a_service(alice: KeyPair, bob: KeyPair) -> None:
    event = nip89.build_worker_announcement(
        alice,
        identifier="node",
        service=bob.pubkey,
        kinds=[5050],
        name="n",
        about="a node",
        expiration=NOW + 900,
        now=NOW,
    )
    assert event.tags == (
        ("d", "node"),
        ("t", "workerbee"),
        ("p", bob.pubkey),
        ("k", "5050"),
        ("expiration", str(NOW + 900)),
    )
    found = nip89.parse_worker_announcement(event)
    assert found == nip89.WorkerAnnouncement(
        alice.pubkey, "node", bob.pubkey, frozenset({5050}), "n", "a node", NOW + 900
    )


def test_a_heartbeat_says_idle_or_busy(alice: KeyPair, bob: KeyPair) -> None:
    for status in ("idle", "busy"):
        event = nip89.build_heartbeat(alice, service=bob.pubkey, status=status, expiration=NOW + 900, now=NOW)
        assert event.tags == (("status", status), ("p", bob.pubkey), ("expiration", str(NOW + 900)))
        beat = nip89.parse_heartbeat(event)
        assert beat == nip89.Heartbeat(alice.pubkey, bob.pubkey, status, NOW, NOW + 900)


def test_a_heartbeat_lives_at_least_900_seconds(alice: KeyPair, bob: KeyPair) -> None:
    with pytest.raises(AssertionError):
        nip89.build_heartbeat(alice, service=bob.pubkey, status="idle", expiration=NOW + 899, now=NOW)


SERVICE = "ab" * 32
WORKER: Tags = (("t", "workerbee"), ("p", SERVICE), ("k", "5050"), ("expiration", "1"))


@pytest.mark.parametrize(
    ("tags", "content"),
    [
        (WORKER[1:], ""),
        ((("t",), *WORKER[1:]), ""),
        ((WORKER[0], *WORKER[2:]), ""),
        ((WORKER[0], ("p", "short"), *WORKER[2:]), ""),
        (WORKER[:3], ""),
        ((*WORKER[:3], ("expiration",)), ""),
        ((*WORKER[:3], ("expiration", "-1")), ""),
        ((*WORKER[:3], ("expiration", "1.0")), ""),
        ((*WORKER[:3], ("expiration", "\u0661")), ""),
        ((*WORKER[:3], ("expiration", "9" * 17)), ""),
        ((*WORKER, ("k",)), ""),
        ((*WORKER, ("k", "65536")), ""),
        ((*WORKER, ("k", "-1")), ""),
        ((*WORKER, ("k", "\u0661")), ""),
        ((*WORKER, ("k", "1" * 4_999)), ""),
        ((*WORKER, *[("k", "1")] * 100), ""),
        (WORKER, "no JSON"),
        (WORKER, "[]"),
        (WORKER, '{"name":1}'),
        (WORKER, '{"about":null}'),
        (WORKER, '{"name":"a","name":"b"}'),
    ],
)
def test_a_malformed_announcement_of_a_node_is_refused(alice: KeyPair, tags: Tags, content: str) -> None:
    nip89.parse_worker_announcement(alice.sign(kind=31990, content="", tags=WORKER, created_at=NOW))
    with pytest.raises(Rejected):
        nip89.parse_worker_announcement(alice.sign(kind=31990, content=content, tags=tags, created_at=NOW))


def test_an_agents_price_is_whole_msat(alice: KeyPair) -> None:
    with pytest.raises(Rejected):
        nip89.parse_announcement(alice.sign(kind=31990, content="", tags=(("price", "1.5"),), created_at=NOW))


@pytest.mark.parametrize(
    "tags",
    [
        (("p", SERVICE), ("expiration", "1")),
        (("status", "asleep"), ("p", SERVICE), ("expiration", "1")),
        (("status", "idle"), ("expiration", "1")),
        (("status", "idle"), ("p", SERVICE)),
    ],
)
def test_a_malformed_heartbeat_is_refused(alice: KeyPair, tags: Tags) -> None:
    with pytest.raises(Rejected):
        nip89.parse_heartbeat(alice.sign(kind=11998, content="", tags=tags, created_at=NOW))


def test_other_kinds_are_refused(alice: KeyPair) -> None:
    note = alice.sign(kind=1, content="", tags=WORKER, created_at=NOW)
    for read in (nip89.parse_announcement, nip89.parse_worker_announcement, nip89.parse_heartbeat):
        with pytest.raises(Rejected, match="kind"):
            read(note)


def test_an_event_without_the_tag_never_expires(alice: KeyPair) -> None:
    assert parse_expiration(alice.sign(kind=1, content="", tags=(), created_at=NOW)) is None
    assert parse_expiration(alice.sign(kind=1, content="", tags=(("expiration", "0"),), created_at=NOW)) == 0


@pytest.mark.parametrize(
    ("capability", "tags"),
    [
        (nip89.Capability(), ()),
        (
            nip89.Capability(
                models=frozenset({"b", "a"}),
                least_msat=Msat(500_000),
                schemes=frozenset({NIP44, NIP04}),
                concurrency=4,
            ),
            (
                ("model", "a"),
                ("model", "b"),
                ("price", "500000", "msat"),
                ("encryption", "nip44_v2 nip04"),
                ("concurrency", "4"),
            ),
        ),
        (nip89.Capability(schemes=frozenset({NIP04})), (("encryption", "nip04"),)),
    ],
)
def test_a_compute_node_says_what_it_can_do(
    alice: KeyPair, bob: KeyPair, capability: nip89.Capability, tags: Tags
) -> None:
    event = node_announcement(alice, bob, capability=capability)
    assert event.tags[4:-1] == tags
    assert nip89.parse_worker_announcement(event).capability == capability


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        (("model",), "model"),
        (("model", "m" * 101), "model"),
        (("encryption", "rot13"), "encryption"),
        (("concurrency", "0"), "concurrency"),
        (("concurrency", "10001"), "concurrency"),
        (("concurrency", "many"), "concurrency"),
        (("price", "free"), "amount"),
    ],
)
def test_a_capability_that_makes_no_sense_is_refused(
    alice: KeyPair, bob: KeyPair, tag: tuple[str, ...], reason: str
) -> None:
    fine = node_announcement(alice, bob)
    wrong = alice.sign(kind=fine.kind, content=fine.content, tags=[*fine.tags, tag], created_at=NOW)
    with pytest.raises(Rejected, match=reason):
        nip89.parse_worker_announcement(wrong)


def test_too_many_models_are_refused(alice: KeyPair, bob: KeyPair) -> None:
    models = frozenset(map(str, range(nip89.MODELS_MAX + 1)))
    with pytest.raises(Rejected, match="model"):
        nip89.parse_worker_announcement(node_announcement(alice, bob, capability=nip89.Capability(models=models)))


def node_announcement(node: KeyPair, service: KeyPair, capability: nip89.Capability = nip89.Capability()) -> Event:  # noqa: B008  frozen
    return nip89.build_worker_announcement(
        node,
        identifier="node",
        service=service.pubkey,
        kinds=[5050],
        name="n",
        about="",
        expiration=NOW + 900,
        capability=capability,
        now=NOW,
    )
