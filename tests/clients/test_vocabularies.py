"""Named class lists, kept by a real server."""

from collections.abc import Iterator

import pytest

from lexiseg_client import Background, Class, Client, NotFound, PreconditionFailed, Vocabulary
from tests.clients.spies import Spy
from tests.integration.server import Server

ROOM: list[str | Class] = ["floor", Class("sofa", ("couch",), 0.3), Class("lamp", gloss="a source of light")]


@pytest.fixture
def room(client: Client) -> Iterator[Vocabulary]:
    yield client.vocabularies.put("room", ROOM, background=Background(0.4, ("wall",)), source="our survey")
    if any(entry.name == "room" for entry in client.vocabularies.list()):
        client.vocabularies.delete("room")


def test_a_list_comes_back_as_it_was_put(client: Client, room: Vocabulary) -> None:
    found = client.vocabularies.get("room")

    assert found == room
    assert found.classes == (Class("floor"), *ROOM[1:])
    assert (found.background, found.source, found.built_in) == (Background(0.4, ("wall",)), "our survey", False)


def test_nobody_overwrites_what_has_changed_since(client: Client, room: Vocabulary) -> None:
    client.vocabularies.put("room", ["floor", "ceiling"], if_match=room.etag)

    for write in (
        lambda: client.vocabularies.put("room", ["walls"], if_match=room.etag),
        lambda: client.vocabularies.put("room", ["walls"], create_only=True),
        lambda: client.vocabularies.delete("room", if_match=room.etag),
    ):
        with pytest.raises(PreconditionFailed):
            write()
    assert [entry.name for entry in client.vocabularies.get("room").classes] == ["floor", "ceiling"]


def test_a_name_cannot_lead_elsewhere(server: Server) -> None:
    spy = Spy()
    with spy.http() as http, Client(server.url, http=http) as client, pytest.raises(NotFound):
        client.vocabularies.get("../models")

    assert len(spy.seen) == 1
