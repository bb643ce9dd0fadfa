"""`lexiseg vocabularies`: back up and restore a store."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.preconditions import Preconditions
from lexiseg_service.gateway.vocabularies.collection import Vocabularies, open_vocabularies
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.records.documents import Documents, run_with
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests.redis_server import RedisServer
from tests.service.commands.command_line import CommandLine


@pytest.fixture(params=["redis", "folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The option that names a store, and its value."""
    if request.param == "folder":
        yield "--state-dir", str(tmp_path / "state")
    else:
        server = RedisServer(tmp_path)
        yield "--redis-url", server.url
        server.kill()


def opened(place: tuple[str, str]) -> Vocabularies:
    option, value = place
    return open_vocabularies(Settings.model_validate({option[2:].replace("-", "_"): value}), Metrics())


def put(place: tuple[str, str], name: str, key: str, *classes: str) -> None:
    vocabularies, content = opened(place), VocabularyInput(classes=list(classes))
    run_with(vocabularies.store, vocabularies.put(name, content, Preconditions(), Caller(key)))


def documents(place: tuple[str, str]) -> dict[str, bytes]:
    store = opened(place).store
    return run_with(store, store.read_all())


def delete_all(place: tuple[str, str]) -> None:
    for name, content in documents(place).items():
        store = opened(place).store
        run_with(store, store.replace(name, content, None))


def test_lists_of_all_keys_come_back_with_their_owners(
    place: tuple[str, str], lexiseg: CommandLine, tmp_path: Path
) -> None:
    put(place, "rooms", "", "sofa", "lamp")
    put(place, "doors", "camera-7", "door")
    before = documents(place)
    file = tmp_path / "saved.json"

    saved = lexiseg("vocabularies", "save", file, *place)
    delete_all(place)
    assert (saved.status, lexiseg("vocabularies", "restore", file, *place).status) == (0, 0)
    assert "2 vocabularies saved" in saved.err
    assert documents(place) == before
    assert {json.loads(document).get("owner", "") for document in before.values()} == {"", "camera-7"}


def test_one_that_has_changed_since_is_replaced_on_demand_alone(
    place: tuple[str, str], lexiseg: CommandLine, tmp_path: Path
) -> None:
    file = tmp_path / "saved.json"
    put(place, "rooms", "", "sofa")
    lexiseg("vocabularies", "save", file, *place)
    before = documents(place)
    put(place, "rooms", "", "table")

    kept = lexiseg("vocabularies", "restore", file, *place)
    after_one = documents(place)
    assert (kept.status, lexiseg("vocabularies", "restore", file, "--replace", *place).status) == (1, 0)
    assert "rooms" in kept.err
    assert after_one != before
    assert documents(place) == before


def test_a_redis_that_is_away_makes_no_empty_backup(lexiseg: CommandLine, tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.kill()

    outcome = lexiseg("vocabularies", "save", tmp_path / "saved.json", "--redis-url", server.url)

    assert outcome.status != 0
    assert not (tmp_path / "saved.json").exists()


def test_another_file_is_refused(lexiseg: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text('{"rooms": {"classes": 7}}')
    outcome = lexiseg("vocabularies", "restore", file, "--state-dir", tmp_path / "state")

    assert outcome.status != 0
    assert "expected what `lexiseg vocabularies save` wrote" in outcome.err


def test_a_list_that_changes_during_the_restore_is_told(
    lexiseg: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ("--state-dir", str(tmp_path / "state"))
    put(place, "rooms", "", "sofa")
    assert lexiseg("vocabularies", "save", tmp_path / "saved.json", *place).status == 0
    delete_all(place)

    async def replace(*_: object) -> bool:
        return False  # as when another process has written meanwhile

    monkeypatch.setattr(Documents, "replace", replace)
    outcome = lexiseg("vocabularies", "restore", tmp_path / "saved.json", *place)

    assert outcome.status == 1
    assert "0 of 1 vocabularies are as saved" in outcome.out
