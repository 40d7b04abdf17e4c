"""How a node refuses to spend, by its own commands: the simulator as a real node."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lightning.lab import Lab
from tests.lightning.situations_of_chain import STRANGER, funded

TEN = {"outputs": [{STRANGER: 10_000}]}


async def prepared(lab: Lab) -> dict[str, Any]:
    await funded(lab)
    return await lab.result("service", "txprepare", TEN)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"outputs": [{"bcrt1qnonsense": 10_000}]}, -32602),
        ({"outputs": [{STRANGER: 10_000}], "feerate": "nonsense"}, -32602),
        ({"outputs": "nonsense"}, -32602),
    ],
)
async def test_what_cannot_be_prepared_is_refused(lab: Lab, params: dict[str, Any], code: int) -> None:
    assert (await lab.call("service", "txprepare", params))["error"]["code"] == code


async def test_a_feerate_is_said_in_any_unit(lab: Lab) -> None:
    await funded(lab)
    for feerate in ("normal", "1000perkw", "4000perkb", "4000"):
        made = await lab.result("service", "txprepare", TEN | {"feerate": feerate})
        await lab.result("service", "txdiscard", {"txid": made["txid"]})


async def test_coins_are_reserved_for_one_at_a_time_and_only_those_are_signed_for(lab: Lab) -> None:
    made = await prepared(lab)
    taken = await lab.call("service", "reserveinputs", {"psbt": made["psbt"]})
    assert taken["error"]["code"] == -32602
    assert "already reserved" in taken["error"]["message"]
    again = await lab.result("service", "reserveinputs", {"psbt": made["psbt"], "exclusive": False})
    assert all(each["reserved"] and each["was_reserved"] for each in again["reservations"])
    unsigned = await lab.call("service", "sendpsbt", {"psbt": made["psbt"]})
    assert unsigned["error"]["code"] in {-1, -32602}
    await lab.result("service", "txdiscard", {"txid": made["txid"]})
    await lab.nodes.mine()


async def test_coins_that_are_free_again_are_not_signed_for(lab: Lab) -> None:
    made = await prepared(lab)
    await lab.result("service", "txdiscard", {"txid": made["txid"]})
    refused = await lab.call("service", "signpsbt", {"psbt": made["psbt"]})
    assert refused["error"]["code"] == -1
    assert "is not reserved" in refused["error"]["message"]


async def test_coins_that_are_spent_cannot_be_reserved(lab: Lab) -> None:
    made = await prepared(lab)
    await lab.result("service", "txsend", {"txid": made["txid"]})
    await lab.nodes.mine()
    refused = await lab.call("service", "reserveinputs", {"psbt": made["psbt"], "exclusive": False})
    assert refused["error"]["code"] == -32602
    assert "already spent" in refused["error"]["message"]


async def test_what_is_no_psbt_is_refused(lab: Lab) -> None:
    for method in ("signpsbt", "sendpsbt", "reserveinputs"):
        assert (await lab.call("service", method, {"psbt": "nonsense"}))["error"]["code"] == -32602


async def test_the_backend_takes_no_garbage(lab: Lab) -> None:
    said = await lab.result("service", "sendrawtransaction", {"tx": "00", "allowhighfees": False})
    assert said["success"] is False
