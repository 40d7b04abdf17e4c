"""What a process does of the whole: the roles of `relaybot run`."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from relaybot.app import Addresses, serve
from relaybot.cli import cli
from relaybot.config import load_config
from relaybot.errors import BadConfig
from relaybot.workings import Role
from tests.flows.harness import world


async def test_a_second_process_with_the_embedded_relay_is_refused() -> None:
    async with world() as w:
        config = load_config(w.data / "config.yaml", {"RELAYBOT_RELAY__PORT": "0"})
        with pytest.raises(BaseExceptionGroup) as refused:
            await serve(config, {}, ready=_nobody)
        assert refused.group_contains(BadConfig, match="another process of this book has the embedded relay")
        await w.fund("bob", 100)  # the first one is not disturbed


def _nobody(_addresses: Addresses) -> None:
    raise AssertionError("it was not to start")


def test_the_roles_are_those_of_the_manual() -> None:
    assert [role.value for role in Role] == ["relay", "bot", "money", "accounts"]


@pytest.mark.parametrize("roles", ["bot,nonsense", "", "relay bot"])
def test_a_role_that_is_none_is_refused_with_those_there_are(roles: str) -> None:
    result = CliRunner().invoke(cli, ["run", "--roles", roles, "--config", "config.yaml"])
    assert result.exit_code == 2
    assert "a list of relay, bot, money, accounts, with commas between" in result.output
