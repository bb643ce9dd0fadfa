"""Ask hosts that clients name, safe against server-side request forgery (SSRF), and fetch images from them.

For the URL and every redirect: check the URL -> resolve its host once -> refuse if any address is neither public nor
one of the operator's own hosts -> connect to one of these addresses, with TLS verified for the host name -> read up to
the limit. Proxies, .netrc and CA overrides of the environment are ignored; there are no cookies.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.metadata import version
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpx

from lexiseg_service.errors import ImageNotFetched, InvalidValue, TooLarge
from lexiseg_service.shares import CLIENT_SHARE, Shares

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

RELAYS_OF_6TO4 = IPv4Network("192.88.99.0/24")  # RFC 7526: deprecated, but may still be routed
PROTOCOL_ASSIGNMENTS = IPv4Network("192.0.0.0/24")  # RFC 6890; which of them are global differs between Pythons
GLOBAL_UNICAST = IPv6Network("2000::/3")  # everything that IANA assigns; loopback, ULA and link-local are elsewhere
DOCUMENTATION = IPv6Network("3fff::/20")  # RFC 9637; unknown to older Pythons
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the IPv4 address is in the last 32 bits
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]  # host and port to addresses; OSError for an unknown name
FIELD = "image.url"
SECONDS = 5.0  # for an image: lookups, connections, redirects, content
CONNECT_SECONDS = 2.0  # to one address; leaves time for the next one
MAX_REDIRECTS = 3
MAX_ADDRESSES = 4  # of a host that are tried
MAX_CONCURRENT = 16  # fetches; each may hold an image in memory
# A lookup goes on after its fetch has ended: the system tries a name with silent servers for a minute.
MAX_LOOKUPS = MAX_CONCURRENT * 12
# Compressed content may decompress to any size.
# `*/*` for servers that have no image renderer to negotiate, such as Label Studio: they answer 406 to only images.
IMAGE_HEADERS = {"Accept": "image/*, */*;q=0.1", "Accept-Encoding": "identity"}
# The same for unknown names, refused addresses and silent hosts: differences would reveal our network.
UNREACHABLE = "{field}: expected {expected}; this one cannot be reached"
PUBLIC_HOST = "a public host that answers over HTTPS with a valid certificate"


def is_public(address: Address) -> bool:
    """Whether an address, and an IPv4 address embedded in it, belongs to the public internet.

    `ipaddress.is_global` alone accepts multicast and embedded private addresses, and differs between Pythons.
    """
    if isinstance(address, IPv4Address):
        if address in RELAYS_OF_6TO4 or address in PROTOCOL_ASSIGNMENTS:
            return False
        return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)
    if address.scope_id is not None:
        return False
    in_nat64 = IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else None
    if (inside := in_nat64 or address.ipv4_mapped or address.sixtofour) is not None:
        return is_public(inside)
    return address.is_global and address in GLOBAL_UNICAST and address not in DOCUMENTATION and address.teredo is None


class SystemResolver:
    """The system's resolver in threads of its own, which a canceled lookup keeps until the system gives up."""

    def __init__(self, max_threads: int) -> None:
        self._threads = ThreadPoolExecutor(max_threads, thread_name_prefix="resolver")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        lookup = asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return [str(entry[4][0]) for entry in await lookup]


class HostGuard:
    """Checks URLs of clients, and connects to public addresses and to hosts of the operator's own."""

    def __init__(
        self,
        field: str,  # of a request that names the URLs, for messages
        resolve: Resolve,  # called once per hop
        *,
        setting: str,  # that lists the operator's own hosts, for messages
        own: Sequence[str] = (),  # its value, networks and host names: they are asked by http, too, and at any port
        to_public: bool = True,
        ports: frozenset[int] = frozenset({443}),
        trust: ssl.SSLContext | None = None,  # None: certifi's authorities
    ) -> None:
        self._field = field
        self._resolve = resolve
        self._own_networks = [network for each in own if (network := network_of(each)) is not None]
        self._own_names = frozenset(each.lower().rstrip(".") for each in own if network_of(each) is None)
        self._has_own = bool(own)
        self._to_public = to_public
        self._ports = ports
        self._trust = trust or httpx.create_ssl_context(trust_env=False)
        self._of_own = f"a host in {setting}"
        self.expected = f"{PUBLIC_HOST}, or {self._of_own}" if to_public else self._of_own
        self.unreachable = UNREACHABLE.format(field=field, expected=self.expected)

    def checked(self, url_text: str) -> httpx.URL:
        """A URL that may be asked, as far as its text says. Raises InvalidValue: it may not."""
        try:
            url = httpx.URL(url_text)
        except (httpx.InvalidURL, ValueError):
            raise InvalidValue.of(self._field, f"{len(url_text)} characters that are no URL", "a URL") from None
        # No message quotes the URL: it may contain a password or a signature.
        if url.scheme != "https" and not (url.scheme == "http" and self._has_own):
            expected = f"https://HOST/PATH, or http of {self._of_own}"
            raise InvalidValue.of(self._field, f"{url.scheme[:20] or 'no'} scheme", expected)
        if url.userinfo:
            raise InvalidValue.of(self._field, "a user name or a password", "none in the URL")
        if not url.raw_host:
            raise InvalidValue.of(self._field, "no host", "https://HOST/PATH")
        if not self._is_plain(url) and not self._has_own:
            ports = ", ".join(map(str, sorted(self._ports)))
            raise InvalidValue.of(self._field, f"port {url.port}", f"port {ports}, or {self._of_own}")
        return url

    def _is_plain(self, url: httpx.URL) -> bool:
        return url.scheme == "https" and _port(url) in self._ports

    async def addresses(self, url: httpx.URL) -> list[Address]:
        """The addresses of the host, if each of them is allowed. Raises ImageNotFetched: it is not, or is not known."""
        try:
            addresses_text = await self._resolve(_name(url), _port(url))
            addresses = [ip_address(text) for text in dict.fromkeys(addresses_text)]
        except (OSError, ValueError):  # UnicodeError is a ValueError: the name cannot be encoded
            raise ImageNotFetched(self.unreachable) from None
        if not addresses or not all(self._is_allowed(url, each) for each in addresses):
            raise ImageNotFetched(self.unreachable)
        return addresses[:MAX_ADDRESSES]

    def _is_allowed(self, url: httpx.URL, address: Address) -> bool:
        if _name(url) in self._own_names or any(address in network for network in self._own_networks):
            return True
        return self._to_public and is_public(address) and self._is_plain(url)

    @asynccontextmanager
    async def send(
        self, method: str, url: httpx.URL, headers: dict[str, str], content: bytes | None = None
    ) -> AsyncIterator[httpx.Response]:
        """The response at the first address that takes a connection, with content that is not read yet."""
        headers = {"Host": url.netloc.decode(), "User-Agent": f"lexiseg/{version('lexiseg')}", **headers}
        # TLS verifies the certificate against the host name, although the connection goes to the address.
        extensions = {"sni_hostname": _name(url), "timeout": {"connect": CONNECT_SECONDS}}
        async with httpx.AsyncHTTPTransport(verify=self._trust, trust_env=False) as connection:
            for address in await self.addresses(url):
                at_address = url.copy_with(host=str(address))
                request = httpx.Request(method, at_address, headers=headers, content=content, extensions=extensions)
                try:
                    response = await connection.handle_async_request(request)
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    continue
                try:
                    yield response
                finally:
                    await response.aclose()
                return
        raise ImageNotFetched(self.unreachable)


class UrlFetcher:
    """Fetches images of at most `max_bytes` from hosts that a guard of `FIELD` lets through, each within `seconds`."""

    def __init__(self, max_bytes: int, hosts: HostGuard, seconds: float = SECONDS) -> None:
        self._max_bytes = max_bytes
        self._hosts = hosts
        self._seconds = seconds
        self._places = Shares("images by URL", MAX_CONCURRENT, CLIENT_SHARE)

    async def fetch(self, url_text: str, client: str = "") -> bytes:
        """Fetch a URL; the content is not checked to be an image."""
        url = self._hosts.checked(url_text)
        with self._places.take(client):
            try:
                async with asyncio.timeout(self._seconds):
                    return await self._follow(url)
            except TimeoutError:
                raise ImageNotFetched(f"{FIELD}: the image did not come within {self._seconds:g} seconds") from None

    async def _follow(self, url: httpx.URL) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            try:
                async with self._hosts.send("GET", url, IMAGE_HEADERS) as response:
                    if not response.has_redirect_location:
                        return await content_of(response, FIELD, self._max_bytes)
                    location = response.headers["location"]
            except httpx.TransportError:
                raise ImageNotFetched(f"{FIELD}: the connection broke off, or the response is not HTTP") from None
            url = self._target(url, location)
        raise ImageNotFetched(f"{FIELD}: more than {MAX_REDIRECTS} redirects")

    def _target(self, url: httpx.URL, location: str) -> httpx.URL:
        try:
            return self._hosts.checked(str(url.join(location)))
        except (httpx.InvalidURL, ValueError):
            raise ImageNotFetched(f"{FIELD}: a redirect leads to no URL") from None
        except InvalidValue as refused:
            problem = f"a redirect leads to a URL that is not allowed ({refused.detail})"
            raise ImageNotFetched(f"{FIELD}: {problem}") from None


async def content_of(response: httpx.Response, field: str, max_bytes: int) -> bytes:
    """The image of an answer; `field` is the part of the request that named it; errors as `UrlFetcher.fetch`."""
    if response.status_code != 200:
        raise ImageNotFetched(f"{field}: expected status 200, got {response.status_code}")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise ImageNotFetched(f"{field}: expected the image itself, got it compressed (Content-Encoding)")
    announced = response.headers.get("content-length", "")
    size = int(announced) if announced.isdigit() else 0
    content = bytearray()
    if size <= max_bytes:
        async for part in response.aiter_raw():
            content += part
            if (size := len(content)) > max_bytes:
                break
    if size > max_bytes:
        raise TooLarge(f"{field}: {size:,} bytes or more, at most {max_bytes:,} are taken")
    return bytes(content)


def network_of(text: str) -> Network | None:
    """The network or address that a text names; None: it is none."""
    try:
        return ip_network(text)
    except ValueError:
        return None


def _name(url: httpx.URL) -> str:
    """The host for resolvers and certificates: punycode, no brackets, no trailing dot."""
    return url.raw_host.decode("ascii").rstrip(".")


def _port(url: httpx.URL) -> int:
    return (80 if url.scheme == "http" else 443) if url.port is None else url.port
