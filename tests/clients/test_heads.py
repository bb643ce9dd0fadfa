"""`client.heads` against the real gateway, over a backend whose lessons are known."""

from collections.abc import Iterator

import numpy as np
import pytest

from lexiseg_client import (
    AsyncClient,
    Class,
    Client,
    ImageId,
    Labelled,
    ModelChanged,
    NameTaken,
    Picture,
    UnknownHead,
    heads,
)
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import Ports, on_ports

MUG = Labelled(box=(0, 0, 2, 2), label="mug")
CLASSES: list[str | Class] = ["mug", Class("saucer", ("plate",))]


@pytest.fixture(scope="module")
def backend() -> KnownBackend:
    return KnownBackend()


@pytest.fixture(scope="module")
def ports(backend: KnownBackend) -> Iterator[Ports]:
    with on_ports(backend) as ports:
        yield ports


@pytest.fixture(autouse=True)
def _no_heads_after_it(ports: Ports, backend: KnownBackend) -> Iterator[None]:
    yield
    backend.asked.clear()
    backend.weights = "digest"
    with Client(ports.url) as client:
        for head in client.heads.list():
            client.heads.delete(head.name)


def pictured(number: int, *objects: Labelled) -> Picture:
    return Picture(ImageId(f"{number:032}"), objects or (MUG,), key=f"desk-{number}")


def test_a_head_is_taught_changed_asked_and_deleted(ports: Ports, backend: KnownBackend) -> None:
    mask = np.eye(4, dtype=bool)
    with Client(ports.url) as client:
        made = client.heads.create("mugs", CLASSES, [pictured(1), pictured(2, Labelled(mask=mask, label="saucer"))])
        changed = client.heads.put("mugs", [pictured(3, Labelled(box=(0, 0, 1, 1)))], remove=["desk-1"])
        client.segment(pictures.encoded(pictures.small()), ["sky"], head="mugs")

        assert [(entry.name, entry.synonyms, entry.pictures) for entry in made.classes] == [
            ("mug", (), 1),
            ("saucer", ("plate",), 1),
        ]
        assert changed.keys == ("desk-2", "desk-3")
        assert [entry.name for entry in backend.asked[-1].vocabulary.classes] == ["mug", "saucer", "sky"]
        assert client.heads.get("mugs") == changed
        assert [head.version for head in client.heads.list()] == [changed.version]
        client.heads.delete("mugs")
        with pytest.raises(UnknownHead):
            client.heads.get("mugs")


def test_an_exported_head_is_kept_under_another_name(ports: Ports) -> None:
    with Client(ports.url) as client:
        made = client.heads.create("mugs", CLASSES, [pictured(1)])

        kept = client.heads.restore("cups", client.heads.export("mugs"))

    assert (kept.name, kept.version) == ("cups", made.version)


@pytest.mark.parametrize(("max_bytes", "n_pictures"), [(200, 5), (heads.MAX_REQUEST_BYTES, 41)])
def test_pictures_that_do_not_fit_into_one_request_go_in_several(
    max_bytes: int, n_pictures: int, ports: Ports, backend: KnownBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "MAX_REQUEST_BYTES", max_bytes)
    with Client(ports.url) as client:
        head = client.heads.create("mugs", CLASSES, [pictured(number) for number in range(n_pictures)])

    assert set(head.keys) == {f"desk-{number}" for number in range(n_pictures)}
    assert len(backend.asked) == n_pictures


def test_refusals_are_errors_of_their_own(ports: Ports, backend: KnownBackend) -> None:
    with Client(ports.url) as client:
        client.heads.create("mugs", CLASSES, [pictured(1)])
        with pytest.raises(NameTaken):
            client.heads.create("mugs", CLASSES, [pictured(1)])
        with pytest.raises(TypeError, match=r"pictures\.0: expected a Picture"):
            client.heads.put("mugs", ["photo.jpg"])  # type: ignore[list-item]
        with pytest.raises(ValueError, match="a class of a head has a name and synonyms"):
            client.heads.put("mugs", [pictured(1)], classes=[Class("mug", threshold=0.5)])
        backend.weights = "others"
        with pytest.raises(ModelChanged, match="send its pictures again"):
            client.segment(pictures.encoded(pictures.small()), ["sky"], head="mugs")


async def test_the_same_from_an_event_loop_and_over_grpc(ports: Ports, backend: KnownBackend) -> None:
    async with AsyncClient(ports.url) as client, AsyncClient(f"grpc://{ports.grpc}") as over_grpc:
        made = await client.heads.create("mugs", CLASSES, [pictured(1)])
        changed = await client.heads.put("mugs", [pictured(2)])
        await over_grpc.segment(pictures.encoded(pictures.small()), head=f"mugs@{changed.version}")
        restored = await client.heads.restore("cups", await client.heads.export("mugs"))
        await client.heads.delete("mugs")

        assert made.keys == ("desk-1",)
        assert restored.keys == ("desk-1", "desk-2")
        assert [head.name for head in await client.heads.list()] == ["cups"]
        assert (await client.heads.get("cups")).version == changed.version
        assert [entry.is_taught for entry in backend.asked[-1].vocabulary.classes] == [True, False]
        with pytest.raises(UnknownHead):
            await over_grpc.segment(pictures.encoded(pictures.small()), ["sky"], head="mugs")
