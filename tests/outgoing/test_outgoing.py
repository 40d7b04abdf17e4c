"""The guarded client, attacked in every way of attack F1."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl

import pytest

from relaybot.errors import BadConfig, Rejected, Unavailable
from relaybot.outgoing import Outgoing, OutgoingLimits, SystemLookup
from tests.outgoing.conftest import HOST, PUBLIC, Names, Server, answer, diverting

URL = f"https://{HOST}/.well-known/lnurlp/alice?x=%2F"
PINNED = "https://wallets.test/.well-known/lnurlp/alice"


def pinned(server: Server, **limits: float) -> Outgoing:
    asked = OutgoingLimits(**limits)  # type: ignore[arg-type]  # every limit is a number
    return Outgoing(hosts={"wallets.test": f"http://127.0.0.1:{server.port}"}, limits=asked, lookup=Names(()))


# --- what it fetches


async def test_a_document_is_fetched_over_tls_from_the_address_that_was_checked(
    secure: Server, trust: ssl.SSLContext
) -> None:
    names, visited = Names([PUBLIC], ["127.0.0.1"]), list[str]()
    outgoing = Outgoing(hosts={}, lookup=names, tls=trust, connect=diverting(visited, secure.port))

    assert await outgoing.get_json(URL) == {"ok": True}

    assert visited == [f"{PUBLIC}:443"]
    assert names.asked == [HOST]  # once: a second answer (127.0.0.1) never counts
    assert secure.heads[0].startswith("GET /.well-known/lnurlp/alice?x=%2F HTTP/1.1\r\n")
    assert f"Host: {HOST}\r\n" in secure.heads[0]
    assert "cookie" not in secure.heads[0].lower()


async def test_f1_a_second_request_looks_the_name_up_again_and_is_refused_when_it_moved_inside(
    secure: Server, trust: ssl.SSLContext
) -> None:
    outgoing = Outgoing(hosts={}, lookup=Names([PUBLIC], ["10.0.0.7"]), tls=trust, connect=diverting([], secure.port))
    await outgoing.get_json(URL)

    with pytest.raises(Rejected, match="address that is not public"):
        await outgoing.get_json(URL)
    assert len(secure.heads) == 1


async def test_a_certificate_of_another_name_is_not_accepted(secure: Server, trust: ssl.SSLContext) -> None:
    outgoing = Outgoing(hosts={}, lookup=Names([PUBLIC]), tls=trust, connect=diverting([], secure.port))
    with pytest.raises(Unavailable, match="ClientConnectorCertificateError"):
        await outgoing.get_json("https://other.example/")
    assert secure.heads == []


async def test_every_checked_address_is_tried_until_one_answers(secure: Server, trust: ssl.SSLContext) -> None:
    visited = list[str]()
    names = Names(["2606:2800:220:1:248:1893:25c8:1946", PUBLIC])
    outgoing = Outgoing(hosts={}, lookup=names, tls=trust, connect=diverting(visited, secure.port))
    assert await outgoing.get_json(f"https://{HOST}:443") == {"ok": True}
    assert visited == ["2606:2800:220:1:248:1893:25c8:1946:443", f"{PUBLIC}:443"]
    assert secure.heads[0].startswith("GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("form", ["https://wallets.test/a", "http://wallets.test/a", "https://WALLETS.test:9999/a"])
async def test_a_pinned_name_leads_where_the_operator_says(plain: Server, form: str) -> None:
    assert await pinned(plain).get_json(form) == {"ok": True}
    assert plain.heads[0].startswith("GET /a HTTP/1.1\r\n")
    assert "Host: wallets.test\r\n" in plain.heads[0]


async def test_a_path_that_looks_like_a_host_stays_a_path(plain: Server) -> None:
    await pinned(plain).get_json("https://wallets.test//169.254.169.254/@x:1/../y")
    assert plain.heads[0].startswith("GET //169.254.169.254/y HTTP/1.1\r\n")


async def test_proxies_of_the_environment_are_not_used(plain: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert await pinned(plain).get_json(PINNED) == {"ok": True}


async def test_a_cookie_that_was_set_is_not_sent_back(plain: Server) -> None:
    plain.reply = answer(b"{}", "Set-Cookie: session=1")
    outgoing = pinned(plain)
    await outgoing.get_json(PINNED)
    await outgoing.get_json(PINNED)
    assert "cookie" not in plain.heads[1].lower()


# --- what it does not even look up


@pytest.mark.parametrize(
    "url",
    [
        "",
        "wallet.example/a",
        "//wallet.example/a",
        "http://wallet.example/a",
        "ftp://wallet.example/a",
        "file:///etc/passwd",
        "gopher://wallet.example/a",
        "https:///a",
        "https:/wallet.example/a",
        "https://wallet.example:8443/a",
        "https://wallet.example:80/a",
        "https://wallet.example:/a",
        "https://wallet.example:99999999/a",
        "https://user@wallet.example/a",
        "https://user:word@wallet.example/a",
        "https://wallet.example@127.0.0.1/a",
        "https://wallet.example/a#fragment",
        "https://127.0.0.1:9200/_x#/.well-known/lnurlp/a",
        "https://wallet.example\\@127.0.0.1/a",
        "https://wallet.example/a b",
        "https://wallet.example/a\r\nHost: 127.0.0.1",
        "https://wal\tlet.example/a",
        "https://wallet.example/ä",
        "https://bücher.example/a",
        "https://127.0.0.1/a",
        "https://127.1/a",
        "https://2130706433/a",
        "https://0x7f000001/a",
        "https://0177.0.0.1/a",
        "https://0x7f.0.0.1/a",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/a",
        "https://[::ffff:127.0.0.1]/a",
        "https://[wallet.example]/a",
        "https://[::1/a",
        "https://localhost/a",
        "https://%6c%6f%63al.example/a",
        "https://wallet.example./a",
        "https://wallet.example/" + "a" * 2048,
    ],
)
async def test_f1_a_url_of_any_other_form_is_refused_before_a_look_up(url: str) -> None:
    names = Names([PUBLIC])
    with pytest.raises(Rejected) as refused:
        await Outgoing(hosts={}, lookup=names).get_json(url)
    assert refused.value.prefix == "invalid"
    assert names.asked == []


# --- names that lead inside


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["169.254.169.254"],
        ["10.1.2.3"],
        ["100.64.0.1"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"],
        ["fe80::1%2"],
        [PUBLIC, "127.0.0.1"],
        ["127.0.0.1", PUBLIC],
    ],
)
async def test_f1_a_name_that_leads_inside_is_refused_and_nothing_is_connected(addresses: list[str]) -> None:
    visited = list[str]()
    outgoing = Outgoing(hosts={}, lookup=Names(addresses), connect=diverting(visited, 1))
    with pytest.raises(Rejected, match="host leads to an address that is not public"):
        await outgoing.get_json(URL)
    assert visited == []


async def test_a_name_without_addresses_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"wallet\.example cannot be reached: OSError"):
        await Outgoing(hosts={}, lookup=Names(())).get_json(URL)


async def test_a_name_the_resolver_does_not_know_is_unavailable() -> None:
    async def unknown(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, host)

    with pytest.raises(Unavailable, match="gaierror"):
        await Outgoing(hosts={}, lookup=unknown).get_json(URL)


async def test_the_machines_own_resolver_finds_what_it_always_knows() -> None:
    assert "127.0.0.1" in await SystemLookup()("127.0.0.1")


async def test_f1_a_name_that_the_machine_maps_to_itself_is_refused() -> None:
    class Hosts(SystemLookup):
        async def __call__(self, host: str) -> list[str]:
            return list(await super().__call__("localhost"))

    with pytest.raises(Rejected, match="not public"):
        await Outgoing(hosts={}, lookup=Hosts()).get_json(URL)


# --- answers


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_f1_a_redirect_is_refused_and_not_followed(plain: Server, status: str) -> None:
    plain.reply = answer(b"", f"Location: http://127.0.0.1:{plain.port}/inside", status=status)
    with pytest.raises(Rejected, match="redirect"):
        await pinned(plain).get_json(PINNED)
    assert len(plain.heads) == 1


@pytest.mark.parametrize("status", ["400 Bad", "404 Not Found", "410 Gone", "204 No Content", "206 Partial"])
async def test_a_refusal_of_the_host_is_a_refusal(plain: Server, status: str) -> None:
    plain.reply = answer(b"", status=status)
    with pytest.raises(Rejected, match="host refuses the request"):
        await pinned(plain).get_json(PINNED)


@pytest.mark.parametrize("status", ["500 Broken", "502 Bad Gateway", "503 Busy", "429 Too Many", "408 Slow"])
async def test_a_failing_or_busy_host_is_unavailable(plain: Server, status: str) -> None:
    plain.reply = answer(b"", status=status)
    with pytest.raises(Unavailable, match=f"status {status[:3]}"):
        await pinned(plain).get_json(PINNED)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{",
        b'{"a":NaN}',
        b'{"a":1}{',
        b'{"a":1,"a":2}',
        b'"\xff"',
        b'"\\ud800"',
        b"[" * 100_000,
        b"\xff\xfe{\x00}\x00",
    ],
)
async def test_an_answer_that_is_no_json_is_refused(plain: Server, body: bytes) -> None:
    plain.reply = answer(body, "Content-Type: application/json")
    with pytest.raises(Rejected, match="answer is not strict JSON"):
        await pinned(plain).get_json(PINNED)


async def test_an_answer_may_be_as_large_as_the_limit_and_not_larger(plain: Server) -> None:
    plain.reply = answer(b'"' + b"x" * 98 + b'"')
    assert await pinned(plain, bytes_max=100).get_json(PINNED) == "x" * 98
    assert await pinned(plain).get_json(PINNED, max_bytes=100) == "x" * 98
    with pytest.raises(Rejected, match=r"answer is too large \(allowed=99\)"):
        await pinned(plain, bytes_max=99).get_json(PINNED)
    with pytest.raises(Rejected, match=r"answer is too large \(allowed=99\)"):
        await pinned(plain).get_json(PINNED, max_bytes=99)


async def test_f1_an_endless_body_is_cut_at_the_limit(plain: Server) -> None:
    plain.reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"fff\r\n" + b" " * 0xFFF + b"\r\n") * 100
    plain.hang = True
    with pytest.raises(Rejected, match="answer is too large"):
        await pinned(plain).get_json(PINNED)


async def test_a_compressed_answer_is_read(plain: Server) -> None:
    plain.reply = answer(gzip.compress(b'{"a":1}'), "Content-Encoding: gzip")
    assert await pinned(plain).get_json(PINNED) == {"a": 1}


async def test_f1_a_compressed_bomb_is_cut_at_the_limit(plain: Server) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 60_000
    plain.reply = answer(bomb, "Content-Encoding: gzip")
    with pytest.raises(Rejected, match="answer is too large"):
        await pinned(plain).get_json(PINNED)


async def test_what_says_it_is_compressed_and_is_not_is_refused(plain: Server) -> None:
    plain.reply = answer(b'{"a":1}', "Content-Encoding: gzip")
    with pytest.raises(Rejected, match="answer is not the gzip it says it is"):
        await pinned(plain).get_json(PINNED)


@pytest.mark.parametrize("encoding", ["deflate", "br", "zstd", "gzip, gzip", "x"])
async def test_an_encoding_that_was_not_asked_for_is_refused(plain: Server, encoding: str) -> None:
    plain.reply = answer(b"{}", f"Content-Encoding: {encoding}")
    with pytest.raises(Rejected, match="encoding that was not asked for"):
        await pinned(plain).get_json(PINNED)


async def test_a_header_that_is_no_text_is_refused_in_words_that_can_be_sent_on(plain: Server) -> None:
    plain.reply = answer(b"{}", "Content-Encoding: ?").replace(b"?", b"\xff")
    with pytest.raises(Rejected) as refused:
        await pinned(plain).get_json(PINNED)
    assert str(refused.value).encode()


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
)
async def test_f1_a_host_that_falls_silent_is_unavailable_when_the_time_is_up(plain: Server, reply: bytes) -> None:
    plain.reply, plain.hang = reply, True
    with pytest.raises(Unavailable, match="did not answer in time"):
        await pinned(plain, seconds_max=0.05).get_json(PINNED)


async def test_a_slow_name_server_is_under_the_same_clock() -> None:
    async def never(host: str) -> list[str]:
        await asyncio.Event().wait()
        return [host]

    outgoing = Outgoing(hosts={}, lookup=never, limits=OutgoingLimits(seconds_max=0.02))
    with pytest.raises(Unavailable, match="did not answer in time"):
        await outgoing.get_json(URL)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 20_000 + b"\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 1_000 + b"\r\n{}",
    ],
)
async def test_a_host_that_speaks_no_http_is_unavailable(plain: Server, reply: bytes) -> None:
    plain.reply = reply
    with pytest.raises(Unavailable, match=r"wallets\.test cannot be reached"):
        await pinned(plain).get_json(PINNED)


async def test_a_host_that_refuses_the_connection_is_unavailable() -> None:
    with socket.socket() as bound:  # bound and not listening: the port is ours and refuses
        bound.bind(("127.0.0.1", 0))
        outgoing = Outgoing(hosts={"wallets.test": f"http://127.0.0.1:{bound.getsockname()[1]}"})
        with pytest.raises(Unavailable, match=r"wallets\.test cannot be reached"):
            await outgoing.get_json(PINNED)


async def test_no_more_than_the_allowed_number_of_requests_run_at_once() -> None:
    running, most = 0, 0
    release = asyncio.Event()

    async def lookup(_host: str) -> list[str]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            release.set()
        await release.wait()
        running -= 1
        return []

    outgoing = Outgoing(hosts={}, lookup=lookup, limits=OutgoingLimits(requests_max=2))
    results = await asyncio.gather(*(outgoing.get_json(URL) for _ in range(8)), return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 8
    assert most == 2


# --- the operator's pins


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("localhost", "http://127.0.0.1:1"),
        ("Wallets.test", "http://127.0.0.1:1"),
        ("127.0.0.1", "http://127.0.0.1:1"),
        ("wallets.test", "127.0.0.1:1"),
        ("wallets.test", "ftp://127.0.0.1:1"),
        ("wallets.test", "http://127.0.0.1:1/path"),
        ("wallets.test", "http://user@127.0.0.1:1"),
        ("wallets.test", "http://127.0.0.1:70000"),
        ("wallets.test", ""),
    ],
)
def test_a_wrong_pin_stops_the_start_and_is_named(name: str, origin: str) -> None:
    with pytest.raises(BadConfig) as refused:
        Outgoing(hosts={name: origin})
    assert refused.value.path == f"outgoing.hosts.{name}"


@pytest.mark.parametrize("origin", ["http://127.0.0.1:7480/", "https://wallets.internal", "http://[::1]:7480"])
def test_a_pin_may_be_any_origin(origin: str) -> None:
    Outgoing(hosts={"wallets.test": origin})
