"""A bulk job goes on with what its question named when it was planned."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lexiseg_model.catalogue import models as catalogue
from lexiseg_service.gateway.heads.collection import open_heads
from lexiseg_service.gateway.preconditions import Preconditions
from lexiseg_service.gateway.vocabularies.collection import open_vocabularies
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.records.documents import run_with
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests.service.batch.bulk import jobs
from tests.service.commands.command_line import CommandLine, taught
from tests.service.gateway.heads.labelled import labelme

FORMATS = ("--to", "coco", "--to", "yolo")
GOES_ON = "goes on with the question of its beginning"
Change = Callable[[CommandLine, Path], object]


def vocabulary(*classes: Any, **fields: Any) -> Change:
    """Writes a vocabulary."""

    def change(lexiseg: CommandLine, here: Path) -> object:
        kept = open_vocabularies(Settings(state_dir=here / "state"), Metrics())
        content = VocabularyInput.model_validate({"classes": classes, **fields})
        return run_with(kept.store, kept.put("mine", content, Preconditions()))

    return change


def head_deleted(lexiseg: CommandLine, here: Path) -> object:
    heads = open_heads(Settings(state_dir=here / "state"), Metrics())
    assert heads is not None
    return run_with(heads.store, heads.delete("gadgets", ""))


RED = {"name": "red square", "synonyms": ["red tile"], "threshold": 0.1}
WORDS = vocabulary("noise", RED, background={"words": ["wall"]})
CHANGES: dict[str, tuple[Change, tuple[str, ...], Change]] = {
    "classes change places": (WORDS, ("--vocabulary", "mine"), vocabulary(RED, "noise")),
    "the head is deleted": (taught, ("--head", "gadgets", "-c", "sky"), head_deleted),
}


def written(out: Path) -> dict[str, Any]:
    """Every file of labels, and the rows without what identifies a run."""
    files = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file()}
    labels = {name: path.read_bytes() for name, path in files.items() if name.partition("/")[0] in FORMATS}
    return {"rows": jobs.rows(out), **labels}


@pytest.mark.parametrize("change", CHANGES)
def test_a_job_goes_on_with_the_words_and_lessons_of_its_plan(
    lexiseg: CommandLine, tmp_path: Path, change: str
) -> None:
    before, named, after = CHANGES[change]
    labelme(tmp_path / "set")
    before(lexiseg, tmp_path)
    out = tmp_path / "out"
    options = (*named, "--local", "--rows-per-file", 1, "--state-dir", tmp_path / "state", *FORMATS)
    command = ("bulk", tmp_path / "set", out, *options)
    assert lexiseg(*command).status == 0
    undisturbed = written(out)
    document = json.loads(undisturbed["coco/annotations/instances_default.json"])
    assert "--head" not in named or document["categories"][0]["name"] == "gadget"
    (out / "rows/00000001.parquet").unlink()  # as if it had been killed
    after(lexiseg, tmp_path)

    outcome = lexiseg(*command)

    assert outcome.status == 0, outcome.err
    assert GOES_ON in outcome.err
    assert written(out) == undisturbed


def test_a_job_goes_on_with_its_version_of_the_model_or_not_at_all(lexiseg: CommandLine, tmp_path: Path) -> None:
    models, out = tmp_path / "models", tmp_path / "out"
    shutil.copytree(catalogue.bundled()["tiny"], models / "own@1")
    source = jobs.folder(tmp_path / "in", 3)
    options = ("--local", "--rows-per-file", 1, "--models-dir", models, "--model", "own")
    command = ("bulk", source, out, "-c", "sky", *options)
    assert lexiseg(*command).status == 0
    (out / "rows/00000001.parquet").unlink()
    shutil.copytree(models / "own@1", models / "own@2")
    card = models / "own@2/card.yaml"
    card.write_text(card.read_text().replace('version: "1"', 'version: "2"'))

    with_another = lexiseg(*command)
    shutil.rmtree(models / "own@1")
    (out / "rows/00000001.parquet").unlink()
    without = lexiseg(*command)

    assert (with_another.status, GOES_ON in with_another.err) == (0, True)
    assert (without.status, "own@1" in without.err) == (1, True)
    assert len(jobs.rows(out)) == 2
