"""The master secret and the keys it gives; no secret is shown anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from relaybot.errors import BadConfig
from relaybot.keyring import open_keyring, read_key
from relaybot.nostr.keys import KeyPair

FRESH, OTHER = b"\x07" * 32, b"\x08" * 32


def test_the_first_start_makes_a_secret_that_only_we_can_read_and_every_later_one_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "master.key"
    first = open_keyring(file, {}, FRESH)
    assert file.stat().st_mode & 0o777 == 0o600
    assert open_keyring(file, {}, OTHER).key("service").pubkey == first.key("service").pubkey


def test_the_environment_takes_the_place_of_the_file(tmp_path: Path) -> None:
    keyring = open_keyring(tmp_path / "master.key", {"RELAYBOT_SECRET": FRESH.hex()}, OTHER)
    assert keyring.key("books").pubkey == open_keyring(tmp_path / "other", {}, FRESH).key("books").pubkey
    assert not (tmp_path / "master.key").exists()


def test_every_role_has_a_key_of_its_own(tmp_path: Path) -> None:
    keyring = open_keyring(tmp_path / "master.key", {}, FRESH)
    roles = ["service", "zapper", "books", "relay", "agent/autodev", "agent/other"]
    assert len({keyring.key(role).pubkey for role in roles}) == len(roles)


@pytest.mark.parametrize("secret", ["", "zz", "00" * 31, "nsec1"])
def test_a_bad_secret_is_refused_and_not_shown(tmp_path: Path, secret: str) -> None:
    with pytest.raises(BadConfig) as refused:
        open_keyring(tmp_path / "master.key", {"RELAYBOT_SECRET": secret}, FRESH)
    assert "RELAYBOT_SECRET" in str(refused.value)
    assert "(hidden)" in str(refused.value)


def test_the_keyring_shows_nothing_of_itself(tmp_path: Path) -> None:
    assert FRESH.hex() not in repr(open_keyring(tmp_path / "master.key", {}, FRESH))


def test_an_agents_own_key_is_read_as_hex_or_nsec(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(FRESH.hex() + "\n")
    assert read_key(file, "agents.a.nsec_file").pubkey == KeyPair(FRESH).pubkey
    file.write_text("nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5")
    assert read_key(file, "agents.a.nsec_file").pubkey == (
        "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e"
    )


@pytest.mark.parametrize("text", ["npub1nonsense", "12", None])
def test_a_key_file_that_holds_no_key_names_its_setting(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "key"
    if text is not None:
        file.write_text(text)
    with pytest.raises(BadConfig, match=r"agents\.a\.nsec_file"):
        read_key(file, "agents.a.nsec_file")
