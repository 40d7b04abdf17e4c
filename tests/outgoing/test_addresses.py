"""Hosts and addresses: what is public, and everything that only looks so (attack F1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaybot.addresses import is_public, parse_host
from relaybot.errors import Rejected
from relaybot.outgoing import Outgoing


@pytest.mark.parametrize(
    "address",
    [
        "93.184.216.34",
        "8.8.8.8",
        "2606:2800:220:1:248:1893:25c8:1946",
        "64:ff9b::808:808",  # NAT64 around 8.8.8.8
        "2002:808:808::1",  # 6to4 around 8.8.8.8
        "::ffff:8.8.8.8",
    ],
)
def test_an_address_of_the_public_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",  # noqa: S104 (an address to refuse, bound by nobody)
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.127.255.255",
        "192.0.0.9",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::808:808",
        "100::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "2001:20::1",
        "2002:7f00:1::1",
        "2002:a00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "2606:2800:220:1::1%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "2130706433",
        "0177.0.0.1",
        "0x7f000001",
        "127.1",
        "wallet.example",
        "",
    ],
)
def test_an_address_inside_or_reserved_or_carrying_one_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("wallet.example", "wallet.example"),
        ("Wallet.Example", "wallet.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a_b.wallet.example", "a_b.wallet.example"),
        ("1.wallet.example", "1.wallet.example"),
        ("0x7f.1.example", "0x7f.1.example"),
        ("example.x1", "example.x1"),
    ],
)
def test_a_domain_name_is_a_host(text: str, host: str) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "localhost",
        "wallet.example.",
        ".wallet.example",
        "wallet..example",
        "-wallet.example",
        "wallet-.example",
        "wallet.example:443",
        "wallet.example/_x",
        "user@wallet.example",
        "bücher.example",
        "wallet。example",
        "ⓦallet.example",
        "wallet.example\n",
        "wallet .example",
        "%77allet.example",
        "a" * 64 + ".example",
        ".".join(["a" * 60] * 5),
        "[::1]",
        "::1",
        "127.0.0.1",
        "127.1",
        "127.0.0.0x1",
        "0x7f.0.0.0x",
        "0177.0.0.01",
        "2130706433",
        "0x7f000001",
        "wallet.1",
    ],
)
def test_what_is_no_plain_domain_name_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="host is"):
        parse_host(text)


@given(st.text(max_size=60))
def test_reading_a_host_or_an_address_never_breaks(text: str) -> None:
    is_public(text)
    try:
        host = parse_host(text)
    except Rejected:
        return
    assert not is_public(host)
    assert host.isascii()


async def test_f1_an_onion_is_refused_and_its_name_is_never_looked_up() -> None:
    async def asked(host: str) -> list[str]:
        raise AssertionError(f"{host} was looked up")

    for host in ("expyuzz4wqqyqhjn.onion", "pay.EXPYUZZ4WQQYQHJN.onion"):
        with pytest.raises(Rejected, match="onion hosts are not reached from here"):
            await Outgoing(hosts={}, lookup=asked).get_json(f"https://{host}/.well-known/lnurlp/bob")
