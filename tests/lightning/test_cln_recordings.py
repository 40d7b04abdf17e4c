"""What the adapter makes of a real node's recorded answers, fed to it over a socket."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from relaybot.errors import Rejected, Unavailable
from relaybot.nostr.event import event_id
from tests.lightning.conftest import Connect, Script
from tests.lightning.wire import RECORDINGS, Answer, recording, reply
from wallet.cln import CoreLightning
from wallet.lightning import PaymentReport, PaymentState
from wallet.money import Msat

NAMES = sorted(path.stem for path in RECORDINGS.glob("*.json"))
LOOK_UPS = [name for name in NAMES if name.startswith("listpays-")]
PARTS = [name for name in NAMES if name.startswith("listsendpays-")]
XPAYS = [name for name in NAMES if recording(name)["method"] == "xpay"]
ANY_HASH = "00" * 32


def hash_in(name: str) -> str:
    """Return the payment hash a recording is about: asked for, or found in its answer."""
    recorded = recording(name)
    rows = [row for rows in recorded["result"].values() for row in rows]
    found: str = recorded["params"].get("payment_hash") or (rows[0]["payment_hash"] if rows else ANY_HASH)
    return found


def expected_state(rows: list[dict[str, Any]]) -> PaymentState:
    """Say in the notes' own words what rows mean: any complete, else any pending, else failed; none proves nothing."""
    statuses = [row["status"] for row in rows]
    if "complete" in statuses:
        return PaymentState.SETTLED
    if "pending" in statuses:
        return PaymentState.PENDING
    return PaymentState.FAILED if statuses else PaymentState.UNKNOWN


@pytest.mark.parametrize("name", [name for name in LOOK_UPS if name != "listpays-status-complete"])
async def test_each_recorded_look_up_means_what_its_rows_say(
    scripted: Script, connect: Connect, data_dir: Path, name: str
) -> None:
    await scripted(lambda _method, _params: reply(name))
    report = await connect(data_dir / "scripted").payment(hash_in(name))
    rows = recording(name)["result"]["pays"]
    assert report.state is expected_state(rows)
    complete = [row for row in rows if row["status"] == "complete"]
    assert report.amount_sent_msat == (complete[0]["amount_sent_msat"] if complete else None)
    assert report.preimage == (complete[0]["preimage"] if complete else None)


async def test_the_preimage_of_another_payment_proves_nothing(
    scripted: Script, connect: Connect, data_dir: Path
) -> None:
    await scripted(lambda _method, _params: reply("listpays-status-complete"))  # several payments, of other hashes
    with pytest.raises(Unavailable, match="another payment"):
        await connect(data_dir / "scripted").payment(ANY_HASH)


@pytest.mark.parametrize("name", PARTS)
async def test_each_recorded_list_of_parts_means_what_its_rows_say(
    scripted: Script, connect: Connect, data_dir: Path, name: str
) -> None:
    answers = {"listpays": reply("unknown-plugin-command"), "listsendpays": reply(name)}
    node = await scripted(lambda method, _params: answers[method])
    report = await connect(data_dir / "scripted").payment(hash_in(name))
    rows = recording(name)["result"]["payments"]
    assert [method for method, _ in node.heard] == ["listpays", "listsendpays"]
    assert report.state is expected_state(rows)
    paid = sum(row["amount_sent_msat"] for row in rows if row["status"] == "complete")
    assert (report.amount_sent_msat or 0) == paid


@pytest.mark.parametrize("name", XPAYS)
async def test_only_success_is_settled_and_every_error_of_a_payment_is_unknown(
    scripted: Script, connect: Connect, data_dir: Path, name: str
) -> None:
    node = await scripted(lambda _method, _params: reply(name))
    report = await connect(data_dir / "scripted").pay("lnbcrt1", maxfee_msat=Msat(7), label="payout/1")
    recorded = recording(name)
    if "result" in recorded:
        result = recorded["result"]
        assert report == PaymentReport(
            PaymentState.SETTLED, Msat(result["amount_sent_msat"]), result["payment_preimage"]
        )
    else:
        assert (report.state, report.amount_sent_msat, report.preimage) == (PaymentState.UNKNOWN, None, None)
        assert report.reason
        assert "lnbc" not in report.reason
    assert node.heard == [("xpay", {"invstring": "lnbcrt1", "maxfee": 7, "retry_for": 60, "label": "payout/1"})]


PAY_ERRORS = [name for name in NAMES if recording(name)["method"] == "pay" and "error" in recording(name)]


@pytest.mark.parametrize("name", PAY_ERRORS)
async def test_no_recorded_error_of_pay_would_be_taken_for_not_paid(
    scripted: Script, connect: Connect, data_dir: Path, name: str
) -> None:
    await scripted(lambda _method, _params: reply(name))
    report = await connect(data_dir / "scripted").pay("lnbcrt1", maxfee_msat=Msat(0), label="l")
    assert report.state is PaymentState.UNKNOWN


async def test_a_settlement_is_what_arrived_not_what_was_asked(
    scripted: Script, connect: Connect, data_dir: Path
) -> None:
    overpaid = recording("listinvoices-overpaid")["result"]["invoices"][0]
    await scripted(lambda _method, _params: {"result": overpaid})
    settlement = await connect(data_dir / "scripted").next_settlement(after_index=115, timeout_seconds=1)
    assert settlement is not None
    assert (overpaid["amount_msat"], settlement.amount_msat, settlement.pay_index) == (10_000, 15_000, 116)


@pytest.mark.parametrize("name", [name for name in NAMES if recording(name)["method"] == "waitanyinvoice"])
async def test_each_recorded_wait_is_a_settlement_or_none(
    scripted: Script, connect: Connect, data_dir: Path, name: str
) -> None:
    node = await scripted(lambda _method, _params: reply(name))
    settlement = await connect(data_dir / "scripted").next_settlement(after_index=3, timeout_seconds=1)
    result = recording(name).get("result")
    assert (settlement is None) == (result is None)
    if settlement is not None and result is not None:
        assert (settlement.label, settlement.pay_index, settlement.paid_at) == (
            result["label"],
            result["pay_index"],
            result["paid_at"],
        )
    assert node.heard == [("waitanyinvoice", {"lastpay_index": 3, "timeout": 1})]


async def test_keysends_and_offers_invoices_are_settlements_too(
    scripted: Script, connect: Connect, data_dir: Path
) -> None:
    rows = [recording(name)["result"]["invoices"][0] for name in ("listinvoices-keysend", "listinvoices-bolt12")]
    answers = iter(rows)
    await scripted(lambda _method, _params: {"result": next(answers)})
    node = connect(data_dir / "scripted")
    labels = [await node.next_settlement(after_index=0, timeout_seconds=1) for _ in rows]
    assert [each.label for each in labels if each] == [row["label"] for row in rows]


async def test_a_recorded_duplicate_is_looked_up_and_compared(
    scripted: Script, connect: Connect, data_dir: Path
) -> None:
    answers = {"invoice": reply("invoice-duplicate-label-900"), "listinvoices": reply("listinvoices-unpaid")}
    await scripted(lambda method, _params: answers[method])
    node = connect(data_dir / "scripted")
    invoice = await node.create_invoice(label="order", amount_msat=Msat(100_000), description="d", expiry_seconds=1)
    assert invoice.payment_hash == recording("listinvoices-unpaid")["result"]["invoices"][0]["payment_hash"]
    with pytest.raises(Rejected, match="another amount"):
        await node.create_invoice(label="order", amount_msat=Msat(1), description="d", expiry_seconds=1)


async def test_a_label_that_is_taken_and_then_free_is_tried_again_later(
    scripted: Script, connect: Connect, data_dir: Path
) -> None:
    answers = {"invoice": reply("invoice-duplicate-label-900"), "listinvoices": reply("listinvoices-none")}
    await scripted(lambda method, _params: answers[method])
    with pytest.raises(Unavailable):
        await connect(data_dir / "scripted").create_invoice(
            label="order", amount_msat=Msat(1), description="d", expiry_seconds=1
        )


@pytest.mark.parametrize(
    "name", ["invoice-description-too-long", "invoice-zero", "invoice-description-u-escape-refused"]
)
async def test_what_the_node_refuses_is_rejected(scripted: Script, connect: Connect, data_dir: Path, name: str) -> None:
    await scripted(lambda _method, _params: reply(name))
    with pytest.raises(Rejected):
        await connect(data_dir / "scripted").create_invoice(
            label="l", amount_msat=None, description="d", expiry_seconds=1
        )


async def test_recorded_channels_give_what_can_be_spent_and_the_hashes_in_flight(
    scripted: Script, connect: Connect, data_dir: Path
) -> None:
    with_htlc = recording("listpeerchannels-with-htlc")["result"]["channels"]
    htlc = with_htlc[0]["htlcs"][0]
    over = {"payment_hash": "11" * 32, "state": "RCVD_REMOVE_ACK_REVOCATION"}
    closing = {"payment_hash": "22" * 32, "state": "SENT_ADD_ACK_REVOCATION"}
    results = {"listpeerchannels": {"channels": with_htlc}, "listhtlcs": {"htlcs": [over, closing]}}
    await scripted(lambda method, _params: {"result": results[method]})
    node = connect(data_dir / "scripted")
    assert await node.htlc_hashes() == {htlc["payment_hash"], "22" * 32}
    assert await node.spendable_msat() == with_htlc[0]["spendable_msat"]
    assert await node.receivable_msat() == with_htlc[0]["receivable_msat"]


async def test_channels_with_a_peer_offline_cannot_spend(scripted: Script, connect: Connect, data_dir: Path) -> None:
    await scripted(lambda _method, _params: reply("listpeerchannels-peer-offline"))
    assert await connect(data_dir / "scripted").spendable_msat() == 0


async def test_recorded_moves_are_read_whole(scripted: Script, connect: Connect, data_dir: Path) -> None:
    node = await scripted(lambda _method, _params: reply("listchannelmoves"))
    moves = await connect(data_dir / "scripted").moves(after_index=0, limit=4)
    assert [(move.index, move.tag, move.debit_msat, move.credit_msat) for move in moves] == [
        (1, "pushed", 8_000_000_000, 0),
        (2, "pushed", 8_000_000_000, 0),
        (3, "invoice", 0, 100_000),
        (4, "invoice", 0, 50_000),
    ]
    assert [move.payment_hash is None for move in moves] == [True, True, False, False]
    assert node.heard == [("listchannelmoves", {"index": "created", "start": 1, "limit": 4})]


@pytest.mark.parametrize("name", ["getinfo", "getinfo-warning-bitcoind-sync"])
async def test_a_recorded_node_tells_whether_it_is_synced(
    scripted: Script, connect: Connect, data_dir: Path, name: str
) -> None:
    await scripted(lambda _method, _params: reply(name))
    info = await connect(data_dir / "scripted").info()
    assert (info.alias, info.network, info.synced) == ("rig-a-service", "regtest", name == "getinfo")


NONSENSE: list[Answer] = [
    None,  # hangs up: .error is a string
    b"not json\n\n",
    b'{"id": ',
    b"[]\n\n",
    b"null\n\n",
    b'"text"\n\n',
    b"\xff\xfe\n\n",
    b'{"jsonrpc":"2.0"}\n\n',
    b'{"jsonrpc":"2.0","id":"somebody else","result":{}}\n\n',
    b"[" * 100_000 + b"\n\n",
    {"result": []},
    {"result": {"unexpected": 1}},
    {"error": "text"},
    {"error": {"code": "205", "message": "m"}},
    {"error": {"code": 9999, "message": "m"}},
]


@pytest.mark.parametrize("answer", NONSENSE)
async def test_nonsense_from_the_node_is_unavailable_and_of_a_payment_unknown(
    scripted: Script, connect: Connect, data_dir: Path, answer: Answer
) -> None:
    await scripted(lambda _method, _params: answer)
    node = connect(data_dir / "scripted")
    calls = [
        node.info(),
        node.find_invoice("l"),
        node.create_invoice(label="l", amount_msat=None, description="d", expiry_seconds=1),
        node.next_settlement(after_index=0, timeout_seconds=0),
        node.create_offer(description="d", label="l"),
        node.invoice_changes(),
        node.payment(ANY_HASH),
        node.htlc_hashes(),
        node.spendable_msat(),
        node.receivable_msat(),
        node.moves(after_index=0, limit=1),
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * len(calls)
    report = await node.pay("lnbcrt1", maxfee_msat=Msat(0), label="l")
    assert report.state is PaymentState.UNKNOWN


@pytest.mark.parametrize(
    "row",
    [
        {"status": "complete", "amount_sent_msat": 1},
        {"status": "complete", "preimage": "11" * 32},
        {"status": "complete", "preimage": "zz", "amount_sent_msat": 1},
        {"status": "complete", "preimage": "11" * 32, "amount_sent_msat": "1msat"},
        {"status": "new word", "preimage": "11" * 32, "amount_sent_msat": 1},
    ],
)
async def test_a_complete_row_without_proof_is_not_taken_for_paid(
    scripted: Script, connect: Connect, data_dir: Path, row: Mapping[str, object]
) -> None:
    await scripted(lambda _method, _params: {"result": {"pays": [row]}})
    with pytest.raises(Unavailable):
        await connect(data_dir / "scripted").payment(hashlib.sha256(bytes.fromhex("11" * 32)).hexdigest())


async def test_nothing_of_a_payload_reaches_the_log_or_an_error(
    scripted: Script, connect: Connect, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "lnbcrt1secret"
    await scripted(lambda _method, _params: {"error": {"code": -32602, "message": f"bad {secret}"}})
    node: CoreLightning = connect(data_dir / "scripted")
    report = await node.pay(secret, maxfee_msat=Msat(0), label="l")
    with pytest.raises(Unavailable) as failure:
        await node.find_invoice(secret)
    chained: BaseException | None
    chained, texts = failure.value, [repr(report), caplog.text]
    while chained is not None:
        texts.append(f"{chained!r} {chained}")
        chained = chained.__cause__ or chained.__context__
    assert secret not in "".join(texts)


def test_importing_pyln_changes_no_json_of_ours() -> None:
    # pyln.client replaces json.JSONEncoder.default; event ids and everything else we write stay what they were
    value = {"text": 'é ☕ "\\\n', "number": 2**62, "list": [1, None, True, 1.5]}
    assert json.dumps(value, ensure_ascii=False, separators=(",", ":")) == (
        '{"text":"é ☕ \\"\\\\\\n","number":4611686018427387904,"list":[1,null,true,1.5]}'
    )
    with pytest.raises(TypeError):
        json.dumps(object())


def test_importing_pyln_changes_no_event_id() -> None:
    pubkey, tags = "ab" * 32, [["p", "cd" * 32], ["amount", "12000000"]]
    written = f'[0,"{pubkey}",1700000000,5050,[["p","{"cd" * 32}"],["amount","12000000"]],"café ☕\\n\\u0001"]'
    assert event_id(pubkey, 1_700_000_000, 5_050, tags, "café ☕\n\x01") == hashlib.sha256(written.encode()).hexdigest()
