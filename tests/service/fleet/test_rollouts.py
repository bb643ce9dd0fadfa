"""Shares of a new version are stable, grow monotonically and can be taken back."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lexiseg_model.types import ModelCard, ModelName
from lexiseg_service.errors import InvalidValue
from lexiseg_service.fleet.rollouts import Rollout, Rollouts, read_rollouts, write_rollouts
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.gateway.vocabularies.collection import Vocabularies
from lexiseg_service.gateway.vocabularies.stores import DirectoryStore
from lexiseg_service.question.messages import ImageSource
from lexiseg_service.question.schemas import Question
from lexiseg_service.settings import Settings
from tests.model.stand_in import card
from tests.service.gateway.known_backend import KnownBackend

NEW = ModelName("colours", "2")
KEYS = [f"key-{number}" for number in range(2000)]
ONE, TWO = card(), card().model_copy(update={"version": "2"})


def taken(percent: float) -> set[str]:
    return {key for key in KEYS if Rollout(NEW, percent).takes(key)}


def test_a_share_has_its_size_and_keeps_its_clients_when_it_grows() -> None:
    shares = [taken(percent) for percent in (0, 5, 20, 100)]

    assert shares[0] == set()
    assert shares[0] < shares[1] < shares[2] < shares[3] == set(KEYS)
    assert 60 <= len(shares[1]) <= 140
    assert 330 <= len(shares[2]) <= 470


def test_the_others_get_the_version_that_everybody_had_before() -> None:
    three = card().model_copy(update={"version": "3"})
    rollout = Rollout(ModelName("colours", "3"), 50, before=NEW)

    for cards in ([ONE, TWO, three], [three, TWO, ONE]):
        assert {Rollouts().card(rollout, cards, key).version for key in KEYS[:50]} == {"2", "3"}  # type: ignore[union-attr]
    assert Rollouts().card(Rollout(rollout.model, 0, before=NEW), [ONE, three], "anybody") == ONE


def test_a_version_that_no_worker_has_is_given_to_nobody() -> None:
    assert Rollouts().card(Rollout(NEW, 100), [ONE], "anybody") == ONE
    assert Rollouts().card(Rollout(NEW, 0), [TWO], "anybody") == TWO
    assert Rollouts().card(Rollout(NEW, 100), [], "anybody") is None


@pytest.mark.parametrize(
    "text",
    [
        *("tcl 5 key", "tcl@2", "tcl@2 five", "tcl@2 101", "tcl@2 -1", "tcl@2 nan", "tcl@2 5 address"),
        *("tcl@2 5 key now", "tcl@ 5", "tcl@2 5\ntcl@3 5", "tcl@2 5 key tiny@1", "tcl@2 5 key tcl@2"),
        *("tcl@2 5 key tcl", "tcl@2 5 key tcl@1 tcl@0"),
    ],
)
def test_a_line_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        read_rollouts(text)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    text = "# at night\ntcl@2 5 image\n\ntiny@3 12.5  # key\ndog@3 1 key dog@2\n"

    write_rollouts(tmp_path / "rollouts.txt", read_rollouts(text))

    assert (tmp_path / "rollouts.txt").read_text() == "tcl@2 5 image\ntiny@3 12.5 key\ndog@3 1 key dog@2\n"


def test_a_file_keeps_its_mode_and_a_new_one_is_readable_for_all(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.txt"
    write_rollouts(path, {})
    assert path.stat().st_mode & 0o777 == 0o644

    path.chmod(0o660)
    write_rollouts(path, {})

    assert path.stat().st_mode & 0o777 == 0o660


class TwoVersions(KnownBackend):
    """Has two versions of its model."""

    def cards(self) -> list[ModelCard]:
        return [ONE, TWO]


def use_case(tmp_path: Path, line: str) -> UseCase:
    path = tmp_path / "rollouts.txt"
    path.write_text(line)
    vocabularies = Vocabularies(DirectoryStore(tmp_path / "state"), Settings().limits)
    return UseCase(TwoVersions(), vocabularies, Settings(), rollouts=Rollouts(path))


async def test_a_key_always_gets_the_same_version_unless_it_names_one(tmp_path: Path) -> None:
    asks = use_case(tmp_path, "colours@2 30 key")

    async def model(client: str, named: str | None = None) -> str:
        question = Question.model_validate({"classes": ["red"], "model": named})
        return (await asks.request(question, Caller(client=client), ImageSource(id=os.urandom(9).hex()))).model

    for key in KEYS[:50]:
        expected = "colours@2" if Rollout(NEW, 30).takes(key) else "colours@1"
        assert {await model(key), await model(key), await model(key, "colours")} == {expected}
        assert await model(key, "colours@1") == "colours@1"


async def test_a_share_waits_until_its_version_is_loaded_and_readyz_says_so(tmp_path: Path) -> None:
    asks = use_case(tmp_path, "colours@2 100 key")
    backend = asks.backend
    assert isinstance(backend, TwoVersions)
    question = Question.model_validate({"classes": ["red"]})

    async def model() -> str:
        return (await asks.request(question, Caller(client="anybody"), ImageSource(id="known"))).model

    backend.now = replace(backend.now, awaited=("colours@2",))
    while_it_loads = await model(), asks.health().degraded
    backend.now = replace(backend.now, awaited=())
    loaded = await model(), asks.health().degraded

    assert while_it_loads == ("colours@1", ("colours@2: its share waits until it is loaded",))
    assert loaded == ("colours@2", ())


def test_a_share_that_is_not_given_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.txt"
    path.write_text("colours@2 100 key")
    counted: list[str] = []
    rollouts = Rollouts(path, counted.append)
    rollout = rollouts.of("colours")
    assert rollout is not None

    given = [rollouts.card(rollout, [ONE, TWO], key, awaited) for awaited in (["colours@2"], []) for key in "abc"]

    assert given == [ONE] * 3 + [TWO] * 3
    assert counted == ["colours@2"] * 3
