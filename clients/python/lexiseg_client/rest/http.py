"""What both drivers share of httpx."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from lexiseg_client.about import USER_AGENT
from lexiseg_client.address import Address
from lexiseg_client.calling.steps import Reply, Request, Send
from lexiseg_client.errors import NotOffered, TimedOut, Unreachable, UnreadableAnswer

CONNECT = 10.0  # seconds that one attempt to connect may take


def arguments(address: Address, step: Send) -> dict[str, Any]:
    """A step as the arguments of httpx's `request`.

    Raises:
        NotOffered: the address is one of gRPC.
    """
    if address.protocol == "grpc":
        raise NotOffered("vocabularies are kept over REST only: take a client of the http address for them")
    request: Request = step.request
    keywords: dict[str, Any] = {
        "method": request.method,
        "url": address.url + request.path,
        "headers": {"User-Agent": USER_AGENT, **address.headers, **request.headers},
        "timeout": httpx.Timeout(step.timeout, connect=min(CONNECT, step.timeout)),
    }
    if request.image is not None:
        keywords |= {"files": {"image": ("image", request.image)}, "data": {"request": request.fields}}
    elif request.json is not None:
        keywords["json"] = request.json
    return keywords


def reply_of(response: httpx.Response) -> Reply:
    """httpx's answer as ours."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, response.content)


@contextmanager
def translated(base: str) -> Iterator[None]:
    """httpx's errors as ours."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise Unreachable(f"no server answers at {base} ({str(error) or type(error).__name__})", sent=False) from error
    except httpx.TimeoutException as error:
        raise TimedOut(f"{base} did not answer in time") from error
    except httpx.DecodingError as error:
        raise UnreadableAnswer(f"what {base} sent cannot be unpacked: {error}") from error
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        # h11's words for an answer that does not begin as HTTP's do
        hint = ": what answers speaks no HTTP, as the port of gRPC does" if reason == "illegal request line" else ""
        broke = f"the connection to {base} broke ({reason}{hint})"
        raise Unreachable(broke, sent=True) from error
