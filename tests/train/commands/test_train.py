import re
import signal
from pathlib import Path

import pytest
import yaml

from lexiseg_train.data import drawn_shapes
from lexiseg_train.methods.dense_clip.trainings import PairTraining
from lexiseg_train.training.recipes.read import read_recipe
from tests.service.commands.command_line import CommandLine
from tests.train.methods.tiny.shapes import write_shapes
from tests.train.training.pairs_folder import write_pairs


def test_without_data_the_layout_is_explained(lexiseg: CommandLine, tmp_path: Path) -> None:
    outcome = lexiseg("train", "tiny", f"data={tmp_path / 'nowhere'}", f"out={tmp_path / 'run'}", f"packs={tmp_path}")

    assert outcome.status == 1
    for word in (str(tmp_path / "nowhere"), "classes.json", "train/images", "train/masks", "data=FOLDER"):
        assert word in outcome.err


def test_a_run_by_another_recipe_is_refused_before_anything_is_loaded(lexiseg: CommandLine, tmp_path: Path) -> None:
    write_shapes(tmp_path / "data", count=4)
    values = [f"data={tmp_path / 'data'}", f"out={tmp_path / 'run'}", "sets={shapes: 1}", "packs=runs/none"]
    recipe = read_recipe("tiny-smoke", values).recipe
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    (tmp_path / "run" / "checkpoint.pt").touch()

    outcome = lexiseg("train", "tiny-smoke", *values, "phases.0.global_batch=5")

    assert outcome.status == 1
    assert "phases.0.global_batch was " in outcome.err
    assert "loading" not in outcome.out


@pytest.mark.parametrize(
    ("teacher", "sentence"),
    [
        ("nobody", "no model 'nobody'"),
        ("sam2.1-hiera-tiny", "teacher=sam2.1-hiera-tiny gives pixels no class and no score; it can: prompt"),
        ("http://127.0.0.1:9", "no server answers at http://127.0.0.1:9"),
    ],
)
def test_what_cannot_teach_is_said_in_one_line(
    lexiseg: CommandLine, tmp_path: Path, teacher: str, sentence: str
) -> None:
    data = write_shapes(tmp_path, count=1) / "shapes"

    outcome = lexiseg(
        "train", "distil", "--teacher", teacher, "--student", "tiny", f"data={data}", f"out={tmp_path}/out"
    )

    assert outcome.status == 1
    assert outcome.err.startswith(f"lexiseg: {sentence}")
    assert outcome.err.count("\n") == 1


def test_a_folder_without_photographs_teaches_nothing(lexiseg: CommandLine, tmp_path: Path) -> None:
    values = ["--teacher", "tiny", f"out={tmp_path / 'out'}", "classes=[cat]"]

    missing = lexiseg("train", "distil", *values, f"data={tmp_path / 'nowhere'}")
    empty = lexiseg("train", "distil", *values, f"data={tmp_path}")

    assert missing.err == f"lexiseg: there are no photographs at {tmp_path / 'nowhere'}; name yours with data=FOLDER\n"
    assert empty.err.startswith(f"lexiseg: {tmp_path} holds no photographs; expected .")


@pytest.mark.parametrize("words", [("--list",), ()])
def test_recipes_are_listed_with_what_they_are(lexiseg: CommandLine, words: tuple[str, ...]) -> None:
    outcome = lexiseg("train", *words)

    assert outcome.status == 0
    line = next(line for line in outcome.out.splitlines() if line.startswith("tiny-prompts "))
    assert "masks for points and boxes" in line


def test_a_dry_run_says_every_value_and_what_would_be_trained(lexiseg: CommandLine, tmp_path: Path) -> None:
    outcome = lexiseg(
        "train", "tiny-smoke", "--dry-run", "sets.mine=2", "seed=8", "sharding=full", f"out={tmp_path / 'run'}",
        f"data={tmp_path / 'no'}",
    )  # fmt: skip

    assert outcome.status == 0, outcome.err
    resolved = yaml.safe_load(outcome.out.partition("\n\n")[0])
    assert (resolved["sets"], resolved["seed"], resolved["mixing"]) == ({"drawn": 1, "mine": 2}, 8, 0.85)
    assert f"tiny-smoke: 60 steps from a trunk pretrained on ImageNet; out: {tmp_path / 'run'}" in outcome.out
    assert re.search(r"^parameters: ([\d,]+), of which \1 are trained$", outcome.out, re.MULTILINE)
    assert re.search(r"^state: [\d,]+ MiB .*, spread over the processes$", outcome.out, re.MULTILINE)
    assert not (tmp_path / "run").exists()


def test_a_dry_run_measures_what_is_trained_first_and_trains_none_of_it(lexiseg: CommandLine, tmp_path: Path) -> None:
    write_pairs(tmp_path / "captions", 4)
    below, small = tmp_path / "clip" / "clip.safetensors", tmp_path / "small.yaml"
    small.write_text("recipe: clip-smoke\nheld_out: 0\nphases.0.global_batch: 4\nmicro_batch: 2\n")
    values = ["phases.0.global_batch=2", f"data={tmp_path}", f"clip={below}", f"clip_recipe={small}", "held_out=0"]

    outcome = lexiseg("train", "tcl-smoke", "--dry-run", *values)

    assert outcome.status == 0, outcome.err
    first = f"before it, {small}: 140 steps from random weights of lexiseg-mini-16; out: {below.parent}"
    assert first in outcome.out
    assert re.search(
        r"/small\.yaml: steps of 4 at 64 pixels, from 0% on: 2 x 2 in one process, "
        r".*; each step contrasts 4 pairs, in two passes over 2 x 2 of them in each process",
        outcome.out,
    )
    assert re.search(r"^tcl-smoke: steps of 2 at 64 pixels, from 0% on: ", outcome.out, re.MULTILINE)
    assert re.search(r"^time: about \d+\.\d minutes on this machine", outcome.out, re.MULTILINE)
    assert not below.parent.exists()


@pytest.mark.parametrize("asking", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_loads_ends_it_with_0(
    lexiseg: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asking: signal.Signals
) -> None:
    write_pairs(tmp_path / "captions", 4)
    monkeypatch.setattr(PairTraining, "trainer", lambda *_: signal.raise_signal(asking))
    before = signal.getsignal(asking)

    outcome = lexiseg("train", "clip-smoke", f"data={tmp_path}", f"out={tmp_path / 'run'}", "held_out=0")

    assert outcome.status == 0, outcome.err
    assert outcome.out.endswith(f"{asking.name}; start it again to resume\n")
    assert signal.getsignal(asking) is before


def test_the_smoke_recipe_trains_without_a_data_set_beside_it(
    lexiseg: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(drawn_shapes, "COUNTS", {"train": 6, "val": 2})

    # The names of the trunk take six seconds to encode.
    outcome = lexiseg("train", "tiny-smoke", "steps=2", "decay_steps=1", "warmup_steps=1", "names_weight=0")

    assert outcome.status == 0, outcome.err
    card = yaml.safe_load(Path("runs/tiny-smoke/card.yaml").read_text())
    assert card["quality"]["drawn"]["images"] == 2


def test_the_settings_of_a_recipe_are_listed_as_overrides_with_what_they_say(lexiseg: CommandLine) -> None:
    outcome = lexiseg("train", "tcl-smoke", "--settings", "steps=7", "pairs=[mine]")

    assert outcome.status == 0, outcome.err
    lines = outcome.out.splitlines()
    assert "steps=7  # updates of the weights; or epochs, or minutes" in lines
    assert "pairs=[mine]  # captioned photographs, below `data`, or s3:// and pipe: of shards" in lines
    assert all("=" in line.partition("  # ")[0] and line.partition("  # ")[2] for line in lines)
    for name in ("tiny", "tiny-prompts", "tiny-directions", "finetune", "distil"):
        assert "  # Recipe of " not in lexiseg("train", name, "--settings").out, name
