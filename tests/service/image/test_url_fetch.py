import asyncio
import threading
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any

import pytest

from lexiseg_service.errors import ImageNotFetched, InvalidValue, QueueFull, RateLimited, TooLarge
from lexiseg_service.image import url_fetch
from lexiseg_service.image.url_fetch import SystemResolver, UrlFetcher, is_public
from tests.http_server import Quiet, serving
from tests.service.image import image_server
from tests.service.image.image_server import ImageServer, Names, content, endless, redirect, serving_images

UNREACHABLE = (
    "image.url: expected a public host that answers over HTTPS with a valid certificate, or a host in"
    " LEXISEG_URL_NETWORKS; this one cannot be reached"
)
HERE = [["127.0.0.1"]]
LITERALS = [
    "127.0.0.1", "10.0.0.5", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "[fe80::1]", "[64:ff9b::7f00:1]",
    "2130706433", "0x7f.1", "127.1", "localhost", "LOCALHOST.", "0",
]  # fmt: skip


@pytest.fixture(scope="module")
def running() -> Iterator[ImageServer]:
    with serving_images("pictures.example", "mirror.example") as server:
        yield server


@pytest.fixture
def server(running: ImageServer) -> ImageServer:
    running.seen.clear()
    running.routes = {"/a.png": content(b"pixels")}
    return running


async def refused(fetcher: UrlFetcher, url: str) -> str:
    with pytest.raises(ImageNotFetched) as caught:
        await fetcher.fetch(url)
    return caught.value.detail


async def test_the_connection_goes_to_the_address_that_was_checked(server: ImageServer) -> None:
    rebinding = Names(pictures=[["127.0.0.1"], ["10.0.0.1"]])  # another answer to whoever asks again

    assert await server.fetcher(rebinding).fetch(server.url("/a.png")) == b"pixels"
    assert rebinding.asked == ["pictures.example"]


@pytest.mark.parametrize(("name", "known"), [("stranger", {}), ("pictures", {"trust": None})])
async def test_a_certificate_of_another_name_or_authority_is_refused(
    server: ImageServer, name: str, known: dict[str, Any]
) -> None:
    fetcher = server.fetcher(Names(stranger=HERE, pictures=HERE), **known)

    assert await refused(fetcher, server.url("/a.png", f"{name}.example")) == UNREACHABLE
    assert server.seen == []


@pytest.mark.parametrize("host", LITERALS)
async def test_a_host_of_our_own_is_refused_however_it_is_written(server: ImageServer, host: str) -> None:
    fetcher = image_server.fetcher(SystemResolver(1), ports=frozenset({server.port}), trust=server.trust)

    assert await refused(fetcher, server.url("/a.png", host)) == UNREACHABLE
    assert server.seen == []


@pytest.mark.parametrize("addresses", [["169.254.169.254"], ["127.0.0.1", "10.0.0.1"], ["::ffff:10.0.0.1"], [], ["?"]])
async def test_a_name_with_any_address_that_is_not_public_is_refused(server: ImageServer, addresses: list[str]) -> None:
    fetcher = server.fetcher(Names(pictures=[addresses]))

    assert await refused(fetcher, server.url("/a.png")) == UNREACHABLE
    assert server.seen == []


async def test_unknown_refused_and_silent_hosts_cannot_be_told_apart(server: ImageServer) -> None:
    fetcher = server.fetcher(Names(private=[["10.0.0.1"]], silent=HERE), ports=frozenset({1, server.port}))

    urls = [server.url("/", "unknown.example"), server.url("/", "private.example"), "https://silent.example:1/"]

    assert {await refused(fetcher, url) for url in urls} == {UNREACHABLE}


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_a_proxy_of_the_environment_is_not_asked(
    server: ImageServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:1")  # nobody listens there

    assert await server.fetcher(Names(pictures=HERE)).fetch(server.url("/a.png")) == b"pixels"


async def test_every_redirect_is_resolved_and_connected_anew(server: ImageServer) -> None:
    server.routes["/moved"] = redirect(server.url("/a.png", "mirror.example"), Set_Cookie="who=me")
    names = Names(pictures=HERE, mirror=HERE)

    assert await server.fetcher(names).fetch(server.url("/moved")) == b"pixels"
    assert names.asked == ["pictures.example", "mirror.example"]
    assert [seen.server_name for seen in server.seen] == ["pictures.example", "mirror.example"]
    assert "Cookie" not in server.seen[1].headers


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("private", {"private": [["192.168.0.1"]], "pictures": HERE}),
        ("stranger", {"stranger": HERE, "pictures": HERE}),
        ("pictures", {"pictures": [["127.0.0.1"], ["10.0.0.1"]]}),
    ],
    ids=["not public", "on the connection of another name", "a name that now means another address"],
)
async def test_a_redirect_to_a_host_that_may_not_be_asked_is_refused(
    server: ImageServer, name: str, addresses: dict[str, list[list[str]]]
) -> None:
    server.routes["/moved"] = redirect(server.url("/a.png", f"{name}.example"))

    assert await refused(server.fetcher(Names(**addresses)), server.url("/moved")) == UNREACHABLE
    assert [seen.path for seen in server.seen] == ["/moved"]


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("file:///etc/passwd", "file scheme"),
        ("https://me:secret@pictures.example/a.png", "a user name or a password"),
        ("https://[::1/a.png", "leads to no URL"),
    ],
)
async def test_a_redirect_is_checked_like_a_first_url(server: ImageServer, location: str, said: str) -> None:
    server.routes["/moved"] = redirect(location)

    detail = await refused(server.fetcher(Names(pictures=HERE)), server.url("/moved"))

    assert "a redirect leads to" in detail
    assert said in detail
    assert "secret" not in detail


@pytest.fixture(scope="module")
def store() -> Iterator[int]:
    """The port of a company's own store of pictures, which speaks http."""

    class Store(Quiet):
        def do_GET(self) -> None:
            leads_on = self.path.startswith("/to/")
            self.send_response(302 if leads_on else 200)
            if leads_on:
                self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            self.wfile.write(b"" if leads_on else b"of our own")

    with serving(Store) as url:
        yield int(url.rpartition(":")[2])


OWN = Names(minio=[["127.0.0.1"]], other=[["127.0.0.1"]], far=[["10.0.0.1"]], mixed=[["127.0.0.1", "10.0.0.1"]])


@pytest.mark.parametrize("own", ["127.0.0.0/8", "127.0.0.1", "minio.example", "MINIO.example."])
async def test_hosts_and_networks_of_the_settings_are_fetched_over_http_at_any_port(store: int, own: str) -> None:
    rebinding = Names(minio=[["127.0.0.1"], ["10.0.0.1"]])  # resolved once
    fetcher = image_server.fetcher(rebinding, own=[own])

    assert await fetcher.fetch(f"http://minio.example:{store}/a.png") == b"of our own"
    assert rebinding.asked == ["minio.example"]


@pytest.mark.parametrize(
    ("own", "url"),
    [
        ("10.0.0.0/8", "http://minio.example:PORT/a.png"),
        ("minio.example", "http://other.example:PORT/a.png"),
        ("minio.example", "http://127.0.0.1:PORT/a.png"),
        ("minio.example", "http://minio.example.far.example:PORT/a.png"),
        ("127.0.0.0/8", "http://mixed.example:PORT/a.png"),
        ("127.0.0.0/8", "http://far.example:PORT/a.png"),
        ("minio.example", "http://minio.example:PORT/to/http://other.example:PORT/a.png"),
        ("minio.example", "http://minio.example:PORT/to/http://127.0.0.1:PORT/a.png"),
    ],
)
async def test_with_hosts_of_the_settings_others_are_refused_as_before(store: int, own: str, url: str) -> None:
    fetcher = image_server.fetcher(OWN, own=[own])

    assert await refused(fetcher, url.replace("PORT", str(store))) == UNREACHABLE


async def test_public_hosts_are_not_fetched_where_own_ones_alone_are(server: ImageServer) -> None:
    fetcher = server.fetcher(Names(pictures=HERE), own=["10.0.0.0/8"], to_public=False)

    detail = await refused(fetcher, server.url("/a.png"))

    assert detail == "image.url: expected a host in LEXISEG_URL_NETWORKS; this one cannot be reached"
    assert server.seen == []


async def test_three_redirects_are_followed_and_a_fourth_is_not(server: ImageServer) -> None:
    server.routes |= {f"/{left}": redirect(f"/{left - 1}") for left in (2, 3, 4)}
    server.routes["/1"] = redirect("/a.png")
    fetcher = server.fetcher(Names(pictures=HERE))

    assert await fetcher.fetch(server.url("/3")) == b"pixels"
    assert await refused(fetcher, server.url("/4")) == "image.url: more than 3 redirects"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://pictures.example/a.png", "got 'http scheme'"),
        ("ftp://pictures.example/a.png", "got 'ftp scheme'"),
        ("data:image/png;base64,AAAA", "got 'data scheme'"),
        ("//pictures.example/a.png", "got 'no scheme'"),
        ("https:///a.png", "got 'no host'"),
        ("https://me:secret@pictures.example/a.png", "a user name or a password"),
        ("https://me@pictures.example/a.png", "a user name or a password"),
        (
            "https://pictures.example:8443/a.png",
            "expected port 443, or a host in LEXISEG_URL_NETWORKS, got 'port 8443'",
        ),
        ("https://pictures.example:99999/a.png", "got 'port 99999'"),
        ("https://0177.0.0.1/a.png", "expected a URL"),
        ("https://pictures.example/a\r\nHost: b", "expected a URL"),
        ("https://\ud800/", "expected a URL"),
        ("https://xn--a.example:0/", "got 'port 0'"),
    ],
)
async def test_a_url_that_is_not_taken_is_told_why(url: str, said: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        await image_server.fetcher(Names()).fetch(url)

    assert said in caught.value.detail
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize(
    ("answer", "said"),
    [(content(b"", Content_Length="1001"), "1,001 bytes"), (endless(b"x" * 100), "at most 1,000")],
    ids=["by its announcement", "as soon as it is"],
)
async def test_an_answer_that_is_too_large_is_refused(server: ImageServer, answer: Any, said: str) -> None:
    server.routes["/large"] = answer

    with pytest.raises(TooLarge, match=said):
        await server.fetcher(Names(pictures=HERE)).fetch(server.url("/large"))


async def test_an_answer_in_drops_is_ended_by_the_time_for_all(server: ImageServer) -> None:
    over = threading.Event()
    server.routes["/drops"] = endless(b"x", lambda: over.wait(0.05))

    detail = await refused(server.fetcher(Names(pictures=HERE), seconds=0.5), server.url("/drops"))

    assert detail == "image.url: the image did not come within 0.5 seconds"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (content(b"gone", 404), "expected status 200, got 404"),
        (content(b"", 302), "expected status 200, got 302"),
        (content(b"compressed", Content_Encoding="gzip"), "compressed"),
        (content(b"half", Content_Length="8"), "broke off"),
    ],
)
async def test_an_answer_without_an_image_is_told_why(server: ImageServer, answer: Any, said: str) -> None:
    server.routes["/odd"] = answer

    assert said in await refused(server.fetcher(Names(pictures=HERE)), server.url("/odd"))


async def test_only_so_many_are_fetched_at_a_time_and_cancelling_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url_fetch, "MAX_CONCURRENT", 1)
    busy = asyncio.Event()

    async def never(host: str, port: int) -> Sequence[str]:
        busy.set()
        await asyncio.Event().wait()
        return []

    fetcher = image_server.fetcher(never)
    first = asyncio.create_task(fetcher.fetch("https://pictures.example/a.png", "one"))
    await busy.wait()
    with pytest.raises(QueueFull):
        await fetcher.fetch("https://pictures.example/a.png", "another")
    first.cancel()
    await asyncio.wait({first})
    await asyncio.sleep(0)  # its place is free when the loop comes round
    busy.clear()
    second = asyncio.create_task(fetcher.fetch("https://pictures.example/a.png"))
    await busy.wait()
    second.cancel()


async def test_one_client_has_its_part_of_the_fetches_and_leaves_some_to_another(server: ImageServer) -> None:
    names = Names(pictures=HERE)

    async def silent_or_known(host: str, port: int) -> Sequence[str]:
        return [await asyncio.Future()] if host == "silent.example" else await names(host, port)

    fetcher = server.fetcher(silent_or_known)
    silent = server.url("/a.png", "silent.example")
    tasks = [asyncio.create_task(fetcher.fetch(silent, "one")) for _ in range(url_fetch.MAX_CONCURRENT)]
    told, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)

    assert {type(task.exception()) for task in told} == {RateLimited}
    assert len(waiting) == url_fetch.MAX_CONCURRENT // 2
    assert await fetcher.fetch(server.url("/a.png"), "another") == b"pixels"
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8", "1.1.1.1", "2001:4860:4860::8888", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808",
        "2002:808:808::1",
    ],
)  # fmt: skip
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("127.0.0.1", id="loopback"), pytest.param("10.0.0.5", id="private 10"),
        pytest.param("172.16.0.1", id="private 172"), pytest.param("192.168.1.10", id="private 192"),
        pytest.param("169.254.169.254", id="link-local: a cloud's metadata"),
        pytest.param("100.64.0.1", id="carrier-grade NAT"), pytest.param("0.0.0.0", id="unspecified"),
        pytest.param("255.255.255.255", id="broadcast"), pytest.param("224.0.0.1", id="multicast"),
        pytest.param("240.0.0.1", id="reserved"), pytest.param("198.18.0.1", id="benchmarks"),
        pytest.param("203.0.113.1", id="documentation"), pytest.param("192.88.99.1", id="6to4 relay"),
        pytest.param("192.0.0.8", id="protocol assignments"), pytest.param("192.0.0.9", id="port control protocol"),
        pytest.param("::", id="unspecified 6"), pytest.param("::1", id="loopback 6"),
        pytest.param("fc00::1", id="unique local"), pytest.param("fe80::1", id="link-local 6"),
        pytest.param("2606:4700::1111%eth0", id="with an interface"), pytest.param("fec0::1", id="site-local"),
        pytest.param("ff0e::1", id="multicast 6"), pytest.param("2001:db8::1", id="documentation 6"),
        pytest.param("3fff::1", id="documentation 6, newer"), pytest.param("2001:0:808:808::1", id="Teredo"),
        pytest.param("5f00::1", id="segment routing"), pytest.param("::ffff:127.0.0.1", id="mapped loopback"),
        pytest.param("::ffff:169.254.169.254", id="mapped metadata"),
        pytest.param("::127.0.0.1", id="compatible loopback"), pytest.param("64:ff9b::7f00:1", id="NAT64 loopback"),
        pytest.param("64:ff9b::a9fe:a9fe", id="NAT64 metadata"), pytest.param("64:ff9b:1::1", id="local NAT64"),
        pytest.param("2002:7f00:1::", id="6to4 loopback"), pytest.param("2002:a00:5::1", id="6to4 private"),
    ],
)  # fmt: skip
def test_every_other_address_is_not(address: str) -> None:
    assert not is_public(ip_address(address))
