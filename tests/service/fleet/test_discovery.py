import asyncio
import socket

import pytest

from lexiseg_service.commands.options import settings_of
from lexiseg_service.errors import InvalidValue
from lexiseg_service.fleet import discovery
from lexiseg_service.fleet.discovery import Discovery, split
from lexiseg_service.image.url_fetch import Resolve


def answering(names: dict[str, list[str]]) -> Resolve:
    """A resolver that knows these names; they may change meanwhile."""

    async def resolve(host: str, port: int) -> list[str]:
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return names[host]

    return resolve


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("10.0.0.7:50061", ("10.0.0.7", 50061)),
        ("worker:1", ("worker", 1)),
        ("dns:///workers.lexiseg.svc:50061", ("workers.lexiseg.svc", 50061)),
        ("[::1]:50061", ("::1", 50061)),
    ],
)
def test_a_target_is_a_host_and_a_port(target: str, parts: tuple[str, int]) -> None:
    assert split(target) == parts


async def test_a_name_stands_for_all_its_machines_and_follows_them() -> None:
    names = {"workers": ["10.0.0.9", "10.0.0.8"]}
    found = Discovery(["dns:///workers:50061"], answering(names))

    before = await found.addresses()
    names["workers"] = ["10.0.0.8", "10.0.0.10"]
    after = await found.addresses()

    assert before == ["10.0.0.8:50061", "10.0.0.9:50061"]
    assert after == ["10.0.0.10:50061", "10.0.0.8:50061"]


async def test_a_name_that_cannot_be_looked_up_keeps_its_addresses() -> None:
    names = {"workers": ["10.0.0.8"]}
    found = Discovery(["workers:1", "nobody:1"], answering(names))

    before = await found.addresses()
    del names["workers"]

    assert await found.addresses() == before == ["10.0.0.8:1"]


@pytest.mark.parametrize("workers", ["worker", "http://worker:1", "a:1,b", "worker:port", "a:1;b:2", "[::1:1"])
def test_what_is_no_address_is_refused(workers: str) -> None:
    with pytest.raises(InvalidValue, match=r"--workers / LEXISEG_WORKERS: expected HOST:PORT"):
        settings_of({"workers": workers})


async def test_a_name_that_is_looked_up_for_too_long_keeps_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "LOOKUP_SECONDS", 0.05)
    slow = False

    async def resolve(host: str, port: int) -> list[str]:
        if slow:
            await asyncio.sleep(60)
        return ["10.0.0.8"]

    found = Discovery(["workers:1"], resolve)
    before = await found.addresses()
    slow = True

    assert await found.addresses() == before == ["10.0.0.8:1"]
