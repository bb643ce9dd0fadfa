"""`image: {"url": ...}`: fetches an image for a client without becoming its way into our own network.

For the first URL and again for every redirect: check the URL -> resolve its host once -> refuse if any address is not
public -> connect to one of exactly these addresses, with TLS verified for the host's name -> read up to the limit.
Nothing of the environment (proxies, .netrc, CA overrides) and no cookie takes part: each hop is a transport of its own.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from ipaddress import IPv4Network, IPv6Network, ip_address

import httpcore
import httpx

from lexiseg_service.errors import ImageNotFetched, InvalidValue, TooLarge
from lexiseg_service.image.addresses import Address, Resolve, SystemResolver, is_public
from lexiseg_service.shares import Shares

FIELD = "image.url"
SECONDS = 5.0  # for everything: names, connections, redirects, content
SECONDS_TO_CONNECT = 2.0  # to one address, so that a silent one leaves time for the next
MOST_REDIRECTS = 3
MOST_ADDRESSES = 4  # tried, of one host
MOST_AT_ONCE = 16  # fetches: each may hold an image in memory, and costs its client nothing
SECONDS_OF_A_FAILURE = 1.0  # for which a fetch without an image keeps its place: to ask again at once costs us more
LONGEST_LOOK_UP = 60.0  # seconds that the system looks for a name whose servers are silent, whoever still waits for it
REDIRECTS = (301, 302, 303, 307, 308)
# One sentence for a name that is unknown, an address that is refused and one that is silent: the difference would map
# our network for whoever asks.
UNREACHABLE = (
    f"{FIELD}: expected a public host that answers over HTTPS with a valid certificate; this one cannot be reached"
)


class UrlFetcher:
    """Fetches images from public HTTPS hosts.

    Args:
        max_bytes: of an image.
        resolve: (host, port) to addresses; called once for each hop.
        also_allowed: networks that may be connected to besides the public ones.
        ports: that a URL may name.
        trust: certificate authorities; by default those that come with certifi.
        seconds: for one image, from the first name to the last byte.
        part: of the fetches at a time that others leave, which one client may have.
    """

    def __init__(
        self,
        max_bytes: int,
        *,
        resolve: Resolve | None = None,
        also_allowed: Sequence[IPv4Network | IPv6Network] = (),
        ports: frozenset[int] = frozenset({443}),
        trust: ssl.SSLContext | None = None,
        seconds: float = SECONDS,
        part: float = 0.5,
    ) -> None:
        self._max_bytes = max_bytes
        self._resolve = resolve or SystemResolver(round(MOST_AT_ONCE * LONGEST_LOOK_UP / seconds))
        self._also_allowed = tuple(also_allowed)
        self._ports = ports
        self._trust = trust or httpx.create_ssl_context(trust_env=False)
        self._seconds = seconds
        self._places = Shares("images by URL", MOST_AT_ONCE, part)

    async def fetch(self, url_text: str, client: str = "") -> bytes:
        """The content behind a URL, not yet looked at.

        Raises:
            InvalidValue: the URL is not one that is taken.
            ImageNotFetched: its host cannot be reached, or does not answer with an image in time.
            TooLarge: more bytes than the limit.
            QueueFull: too many fetches at a time.
            RateLimited: too many of this client.
        """
        url = self._checked(url_text)
        with self._place(client):
            try:
                async with asyncio.timeout(self._seconds):
                    return await self._follow(url)
            except TimeoutError:
                raise ImageNotFetched(f"{FIELD}: the image did not come within {self._seconds:g} seconds") from None

    @contextmanager
    def _place(self, client: str) -> Iterator[None]:
        """Of a fetch; until `SECONDS_OF_A_FAILURE` from its beginning if it fails before."""
        loop = asyncio.get_running_loop()
        free = loop.time() + SECONDS_OF_A_FAILURE
        place = self._places.take(client)
        try:
            yield
        except BaseException:
            loop.call_at(free, place.release)
            raise
        place.release()

    async def _follow(self, url: httpx.URL) -> bytes:
        for _ in range(MOST_REDIRECTS + 1):
            answer = await self._ask(url)
            if isinstance(answer, bytes):
                return answer
            url = self._target(url, answer)
        raise ImageNotFetched(f"{FIELD}: more than {MOST_REDIRECTS} redirects")

    def _target(self, url: httpx.URL, location: str) -> httpx.URL:
        try:
            return self._checked(str(url.join(location)))
        except (httpx.InvalidURL, ValueError):
            raise ImageNotFetched(f"{FIELD}: a redirect leads to no URL") from None
        except InvalidValue as refused:
            raise ImageNotFetched(f"{FIELD}: a redirect leads to what is not taken ({refused.detail})") from None

    def _checked(self, url_text: str) -> httpx.URL:
        try:
            url = httpx.URL(url_text)
        except (httpx.InvalidURL, ValueError):
            raise InvalidValue.of(FIELD, f"{len(url_text)} characters that are none", "a URL") from None
        # None of these says the URL again: it may hold a password or a signature.
        if url.scheme != "https":
            raise InvalidValue.of(FIELD, f"{url.scheme[:20] or 'no'} scheme", "https://HOST/PATH")
        if url.userinfo:
            raise InvalidValue.of(FIELD, "a user name or a password", "none in the URL")
        if not url.raw_host:
            raise InvalidValue.of(FIELD, "no host", "https://HOST/PATH")
        if _port(url) not in self._ports:
            raise InvalidValue.of(FIELD, f"port {url.port}", f"port {', '.join(map(str, sorted(self._ports)))}")
        return url

    async def _addresses(self, url: httpx.URL) -> list[Address]:
        """Every address of the host, if all of them may be connected to: with one that may not, none is taken."""
        try:
            resolved = await self._resolve(_name(url), _port(url))
            addresses = [ip_address(text) for text in dict.fromkeys(resolved)]
        except (OSError, ValueError):  # UnicodeError too: a name that no resolver takes
            raise ImageNotFetched(UNREACHABLE) from None
        if not addresses or not all(self._allowed(address) for address in addresses):
            raise ImageNotFetched(UNREACHABLE)
        return addresses[:MOST_ADDRESSES]

    def _allowed(self, address: Address) -> bool:
        return is_public(address) or any(address in network for network in self._also_allowed)

    async def _ask(self, url: httpx.URL) -> bytes | str:
        """The content, or the Location of a redirect."""
        for address in await self._addresses(url):
            try:
                return await self._get(url, address)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
            except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
                raise ImageNotFetched(f"{FIELD}: the connection broke off, or what came is no HTTP") from None
        raise ImageNotFetched(UNREACHABLE)

    async def _get(self, url: httpx.URL, address: Address) -> bytes | str:
        pinned = httpcore.Request(
            "GET",
            httpcore.URL(scheme="https", host=str(address), port=_port(url), target=url.raw_path),
            headers={
                "Host": url.netloc,
                "User-Agent": f"lexiseg/{version('lexiseg')}",
                "Accept": "image/*",
                "Accept-Encoding": "identity",  # what is packed may unpack to any size
            },
            # The name is what the certificate must be for, although the connection goes to the address.
            extensions={"sni_hostname": _name(url), "timeout": {"connect": SECONDS_TO_CONNECT}},
        )
        async with httpcore.AsyncHTTPConnection(pinned.url.origin, ssl_context=self._trust) as connection:
            response = await connection.handle_async_request(pinned)
            try:
                headers = httpx.Headers(response.headers)
                if response.status in REDIRECTS and "location" in headers:
                    return headers["location"]
                return await self._content(response, headers)
            finally:
                await response.aclose()

    async def _content(self, response: httpcore.Response, headers: httpx.Headers) -> bytes:
        if response.status != 200:
            raise ImageNotFetched(f"{FIELD}: expected status 200, got {response.status}")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise ImageNotFetched(f"{FIELD}: expected the image itself, got it packed (Content-Encoding)")
        announced = headers.get("content-length", "")
        if announced.isdigit() and int(announced) > self._max_bytes:
            raise self._too_large(int(announced))
        content = bytearray()
        async for part in response.aiter_stream():
            content += part
            if len(content) > self._max_bytes:
                raise self._too_large(len(content))
        return bytes(content)

    def _too_large(self, size: int) -> TooLarge:
        return TooLarge(f"{FIELD}: {size:,} bytes or more, at most {self._max_bytes:,} are taken")


def _name(url: httpx.URL) -> str:
    """The host as resolvers and certificates write it: punycode, no brackets, no dot at the end."""
    return url.raw_host.decode("ascii").rstrip(".")


def _port(url: httpx.URL) -> int:
    return 443 if url.port is None else url.port
