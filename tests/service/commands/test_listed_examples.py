"""Class lists with examples in pictures, and the commands that find classes by words alone."""

import base64
from pathlib import Path

import pytest

from lexiseg_service.gateway.preconditions import Preconditions
from lexiseg_service.gateway.vocabularies.collection import open_vocabularies
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.records.documents import run_with
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests import pictures
from tests.service.commands.command_line import CommandLine

PICTURE = pictures.encoded(pictures.small("china", 64))


@pytest.fixture
def kept(tmp_path: Path) -> tuple[object, ...]:
    """Options of an installation that keeps the list `shown`, one of whose classes is shown by a box in a picture."""
    image = {"base64": base64.b64encode(PICTURE).decode()}
    shown = {"name": "gadget", "examples": [{"image": image, "box": [4, 4, 20, 20]}]}
    vocabularies = open_vocabularies(Settings(state_dir=tmp_path / "state"), Metrics())
    content = VocabularyInput.model_validate({"classes": ["sky", shown]})
    run_with(vocabularies.store, vocabularies.put("shown", content, Preconditions()))
    return ("--vocabulary", "shown", "--state-dir", tmp_path / "state")


@pytest.mark.parametrize("command", [("bulk", "{in}", "{out}"), ("segment-scene", "{in}/a.png", "--out", "{out}")])
def test_a_list_with_examples_is_refused_before_the_work(
    lexiseg: CommandLine, tmp_path: Path, kept: tuple[object, ...], command: tuple[str, ...]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(PICTURE)

    outcome = lexiseg(*(word.format(**{"in": tmp_path / "in", "out": tmp_path / "out"}) for word in command), *kept)

    assert outcome.status == 1
    assert "vocabulary: expected a list of words alone" in outcome.err
