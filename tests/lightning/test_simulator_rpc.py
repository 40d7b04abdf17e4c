"""The simulator's JSON-RPC: framing, parameters by position and by name, errors, callers who hang up."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import bolt11
import pytest
from bolt11 import Bolt11, TagChar, Tags

from relaybot.simulator import params
from relaybot.simulator.network import SimulatedNetwork
from relaybot.simulator.node import SIGNATURES
from relaybot.simulator.params import Fault
from relaybot.simulator.rpc import REQUEST_BYTES_MAX
from tests.lightning.wire import ask, ask_raw

GETINFO = b'{"jsonrpc":"2.0","id":1,"method":"getinfo","params":{}}'


@pytest.fixture
def socket(network: SimulatedNetwork) -> Path:
    return network.sockets["service"]


async def test_positional_parameters_mean_the_same_as_named_ones(socket: Path) -> None:
    await ask(socket, "invoice", [1_000, "by position", "d", 60])
    await ask(socket, "invoice", {"amount_msat": 1_000, "label": "by name", "description": "d", "expiry": 60})
    rows = (await ask(socket, "listinvoices", {}))["result"]["invoices"]
    same = [{key: row[key] for key in ("amount_msat", "description", "expires_at", "status")} for row in rows]
    assert same[0] == same[1]
    assert [row["label"] for row in rows] == ["by position", "by name"]


async def test_a_null_parameter_is_none_at_all(socket: Path) -> None:
    assert "result" in await ask(socket, "listinvoices", {"label": None})
    assert "result" in await ask(socket, "listinvoices", [None, None])


async def test_requests_may_come_in_pieces_and_several_at_once(socket: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    for piece in (b"  \n", GETINFO[:7], GETINFO[7:20], GETINFO[20:] + GETINFO + b"\n" + GETINFO):
        writer.write(piece)
        await writer.drain()
    answers = [json.loads(await reader.readuntil(b"\n\n")) for _ in range(3)]
    assert len({answer["result"]["id"] for answer in answers}) == 1
    writer.close()


async def test_braces_and_quotes_inside_texts_end_no_request(socket: Path) -> None:
    label = 'a } " \\ { ] b'
    answer = await ask(socket, "invoice", {"amount_msat": 1, "label": label, "description": "}{"})
    assert "result" in answer
    assert (await ask(socket, "listinvoices", {"label": label}))["result"]["invoices"][0]["label"] == label


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"hello",
        b"[]",
        b'{"id":1}',
        b'{"id":1,"method":5}',
        b'{"id":1,"method":"getinfo","params":"x"}',
        b'{"id":1,"method":"getinfo","params":7}',
        b'{"id":1,,}',
        b'{"id":1,"method":"\xff"}',
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"id":"' + b"x" * (REQUEST_BYTES_MAX + 1),
    ],
)
async def test_what_is_no_request_is_answered_as_such(socket: Path, request_bytes: bytes) -> None:
    answer = json.loads(await ask_raw(socket, request_bytes))
    assert answer["error"]["code"] == -32600
    assert "result" in await ask(socket, "getinfo", {})  # the node lives on


async def test_the_answer_carries_the_id_of_its_request(socket: Path) -> None:
    for sent in (7, "seven", None):
        answer = json.loads(await ask_raw(socket, json.dumps({"id": sent, "method": "getinfo", "params": []}).encode()))
        assert answer["id"] == sent


async def test_a_filter_names_what_is_wanted_at_any_depth(socket: Path) -> None:
    await ask(socket, "invoice", [1_000, "l", "d"])
    answer = await ask(socket, "listinvoices", {}, wanted={"invoices": [{"label": True}]})
    assert answer["result"] == {"invoices": [{"label": "l"}]}


async def test_a_caller_who_hangs_up_leaves_no_wait_behind(network: SimulatedNetwork, socket: Path) -> None:
    _, writer = await asyncio.open_unix_connection(str(socket))
    writer.write(b'{"id":1,"method":"waitanyinvoice","params":{}}')
    await writer.drain()
    assert "result" in await ask(socket, "getinfo", {})
    writer.close()
    await writer.wait_closed()
    assert "result" in await ask(socket, "getinfo", {})


async def test_at_shutdown_waiters_get_the_end_of_the_stream(network: SimulatedNetwork, socket: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    writer.write(b'{"id":1,"method":"waitanyinvoice","params":{}}' + GETINFO)
    await reader.readuntil(b"\n\n")  # of getinfo: the wait has begun
    await network.close()
    assert await reader.read() == b""
    writer.close()


async def test_a_bug_of_the_simulator_is_an_answer_and_not_the_end(network: SimulatedNetwork, socket: Path) -> None:
    network._store.run("DROP TABLE moves")
    answer = await ask(socket, "listchannelmoves", {})
    assert answer["error"]["code"] == -32603
    assert "result" in await ask(socket, "listpeerchannels", {})


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("invoice", {"amount_msat": True, "label": "l", "description": "d"}),
        ("invoice", {"amount_msat": 2**63, "label": "l", "description": "d"}),
        ("invoice", {"amount_msat": "10btc", "label": "l", "description": "d"}),
        ("invoice", {"amount_msat": 1, "label": [], "description": "d"}),
        ("invoice", {"amount_msat": 1, "label": True, "description": "d"}),
        ("invoice", {"amount_msat": 1, "label": "l", "description": "d", "expiry": -1}),
        ("invoice", {"amount_msat": 1, "label": "l", "description": "d", "expiry": 2**40}),
        ("invoice", {"amount_msat": 1, "label": "l", "description": "d", "deschashonly": "yes"}),
        ("listinvoices", {"index": "sideways"}),
        ("listpays", {"status": "new"}),
        ("listpays", {"payment_hash": "00" * 32, "bolt11": "lnbcrt1"}),
        ("listpays", {"bolt11": "garbage"}),
        ("listsendpays", {"limit": 5}),
        ("waitanyinvoice", {"timeout": 1.5}),
        ("pay", {"bolt11": "lnbcrt1", "maxfeepercent": "much"}),
        ("xpay", {"invstring": []}),
        ("wait", ["invoices", "sideways", 0]),
    ],
)
async def test_wrong_parameters_are_32602(socket: Path, method: str, given: Any) -> None:
    assert (await ask(socket, method, given))["error"]["code"] == -32602


def test_every_command_names_its_required_parameters_first() -> None:
    for method, signature in SIGNATURES.items():
        assert signature.required <= len(signature.names), method
        for name in signature.names[: signature.required]:
            with pytest.raises(Fault, match="missing required parameter"):
                params.bind(signature, {other: 1 for other in signature.names[: signature.required] if other != name})


def test_numbers_come_as_text_too() -> None:
    assert params.integer({"start": "12"}, "start") == 12
    assert params.msat({"maxfee": "21sat"}, "maxfee") == 21_000
    assert params.msat({"maxfee": "21msat"}, "maxfee") == params.msat({"maxfee": 21}, "maxfee") == 21
    assert params.text({"label": 5}, "label") == "5"


async def test_an_expired_invoice_stays_expired_and_counts_its_update(
    network: SimulatedNetwork, socket: Path, clock: Any
) -> None:
    await ask(socket, "invoice", {"amount_msat": 1, "label": "l", "description": "d", "expiry": 1})
    clock.advance(1)
    first = await ask(socket, "listinvoices", {"label": "l"})
    clock.advance(-5)  # a clock that jumps back
    assert await ask(socket, "listinvoices", {"label": "l"}) == first
    assert first["result"]["invoices"][0]["status"] == "expired"


async def test_listhtlcs_names_every_htlc_from_both_ends(network: SimulatedNetwork, socket: Path) -> None:
    bolt11 = network.people.invoice("alice", 1_000_000)
    assert "result" in await ask(socket, "pay", [bolt11])
    ours = (await ask(socket, "listhtlcs", {}))["result"]["htlcs"]
    hubs = (await ask(network.sockets["hub"], "listhtlcs", {}))["result"]["htlcs"]
    assert [(row["direction"], row["state"]) for row in ours] == [("out", "RCVD_REMOVE_ACK_REVOCATION")]
    assert sorted(row["direction"] for row in hubs) == ["in", "out"]
    one = ours[0]["short_channel_id"]
    assert (await ask(socket, "listhtlcs", {"id": one}))["result"]["htlcs"] == ours
    assert (await ask(socket, "listhtlcs", {"id": "9x9x9"}))["result"]["htlcs"] == []


async def test_the_chain_stands_still(socket: Path) -> None:
    assert (await ask(socket, "listchainmoves", {"index": "created"}))["result"] == {"chainmoves": []}
    assert (await ask(socket, "listfunds", {"spent": True}))["result"]["outputs"] == []


async def test_payments_are_listed_by_update_too(network: SimulatedNetwork, socket: Path) -> None:
    for _ in range(2):
        await ask(socket, "pay", [network.people.invoice("alice", 1_000_000)])
    rows = (await ask(socket, "listsendpays", {"index": "updated", "start": 2, "limit": 5}))["result"]["payments"]
    assert [row["updated_index"] for row in rows] == [2]


async def test_waiting_for_a_deleted_index_says_what_it_reached(socket: Path) -> None:
    assert (await ask(socket, "wait", ["invoices", "deleted", 0]))["result"] == {"subsystem": "invoices", "deleted": 0}
    await ask(socket, "invoice", [1_000, "l", "d"])
    answer = (await ask(socket, "wait", ["invoices", "created", 1]))["result"]
    assert answer["details"] == {"status": "unpaid", "label": "l"}


async def test_a_wait_for_an_invoice_ends_by_the_nodes_clock_and_not_by_ours(
    network: SimulatedNetwork, socket: Path, clock: Any
) -> None:
    await ask(socket, "invoice", {"amount_msat": 1, "label": "l", "description": "d", "expiry": 1})
    waiting = asyncio.create_task(ask(socket, "waitinvoice", {"label": "l"}))
    await ask(socket, "getinfo", {})
    clock.advance(1)
    await ask(socket, "invoice", [1, "other", "d"])  # something changes, and everybody looks again
    assert (await waiting)["error"]["code"] == 903


async def test_no_invoice_belongs_to_an_offer(socket: Path) -> None:
    await ask(socket, "invoice", [1_000, "l", "d"])
    assert (await ask(socket, "listinvoices", {"offer_id": "00" * 32}))["result"] == {"invoices": []}


async def test_escapes_are_noticed_in_positional_parameters_too(socket: Path) -> None:
    assert (await ask(socket, "invoice", [1_000, "l", "é", 60], escaped=True))["error"]["code"] == -32602
    backslash = "a\\u00e9 b"  # a backslash and a u are no escape
    assert "result" in await ask(socket, "invoice", [1_000, "l", backslash], escaped=True)


async def test_an_invoice_without_features_is_decoded_too(socket: Path) -> None:
    tags = Tags()
    tags.add(TagChar.payment_secret, "33" * 32)
    tags.add(TagChar.payment_hash, "22" * 32)
    tags.add(TagChar.description, "x")
    plain = bolt11.encode(Bolt11(currency="bcrt", date=1_795_438_000, tags=tags), "11" * 32)
    answer = (await ask(socket, "decode", [plain]))["result"]
    assert "features" not in answer
    assert "amount_msat" not in answer
