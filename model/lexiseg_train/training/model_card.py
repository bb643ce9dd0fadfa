"""The model card of a finished run: origin, lineage, terms of the weights, measured quality."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from lexiseg_model.cards import ModelCard, PromptQuality, Quality
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.importing import Imported
from lexiseg_model.catalogue.weights import WEIGHTS, file_digest
from lexiseg_model.segmenter import Segmenter
from lexiseg_train.data.indexed import IndexedDataset, read_dataset
from lexiseg_train.data.read_scenes import object_scenes
from lexiseg_train.evaluation.counts import Scores
from lexiseg_train.evaluation.run import evaluate
from lexiseg_train.evaluation.scenes.judges import centre_points, tight_boxes
from lexiseg_train.training.journal import read_journal
from lexiseg_train.training.recipe import RECIPE, PairsRecipe, RunRecipe

ROOT = Path(__file__).parents[3]  # of a checkout
CURVE_POINTS = 5  # of the loss, in a card
COMMIT_LENGTH = 12
LICENCE_FILES = ("licence", "license", "copying")  # in any case, with any suffix
MAX_TERMS = 120  # characters
UNSTATED = "Not stated: the weights inherit the terms of what they were trained on."


def write_model(
    imported: Imported, folder: Path, recipe: RunRecipe, start: str, changes: Mapping[str, object]
) -> ModelCard:
    """Write weights and card of a run, as the method's import has read them; `start` names the initial weights."""
    save_file({name: value.contiguous() for name, value in imported.state.items()}, folder / WEIGHTS)
    return update_card(imported.card, folder, **{**origin_fields(recipe, folder / WEIGHTS, start), **changes})


def update_card(card: ModelCard, folder: Path, **fields: object) -> ModelCard:
    """Change fields of a card and write it to its model directory."""
    card = card.model_copy(update=fields)
    catalogue.write_card(card, folder)
    return card


def origin_fields(
    recipe: RunRecipe, weights: Path, start: str = "", below: ModelCard | None = None
) -> dict[str, object]:
    """Fields of a card that say where its weights come from; measured fields are emptied.

    `below` is the card of the initial weights, whose terms are kept; None: they are random or have no card.
    """
    if below is None:
        licence, use = recipe.licence or UNSTATED, "ask"
    elif recipe.licence:  # it gives no more than the initial weights allow
        licence, use = recipe.licence, "no" if below.commercial_use == "no" else "ask"
    else:
        licence, use = below.licence, below.commercial_use
    measured = "Nothing is known of it beyond what was measured on validation splits of its own data."
    return {
        "name": weights.parent.name,
        "version": "1",
        "licence": licence,
        "commercial_use": use,
        "recipe": RECIPE,
        "lineage": lineage(recipe, start),
        "commit": commit(),
        "seed": recipe.seed,
        "weights_sha256": file_digest(weights),
        "quality": {},
        "prompt_quality": {},
        "limits": [measured],
    }


def lineage(recipe: RunRecipe, start: str) -> str:
    """Initial weights as `Training.start` names them, length of training, course of the loss and held-out figures."""
    origin = f" from {start}" if start else ""
    entries = read_journal(recipe.out)
    curve = [entry for entry in entries if "loss" in entry]
    places = sorted({round((len(curve) - 1) * n / (CURVE_POINTS - 1)) for n in range(CURVE_POINTS)}) if curve else []
    points = ", ".join(f"{curve[place]['loss']:.4g} at step {curve[place]['step']}" for place in places)
    loss = f" Loss: {points}." if points else ""
    return f"{recipe.length} of the recipe {recipe.recipe!r}{origin}, seed {recipe.seed}.{loss}{_held_out(entries)}"


def _held_out(entries: list[dict[str, Any]]) -> str:
    """Figures of the last validation, or of the best one where weights are chosen by it."""
    validations = [entry for entry in entries if entry.get("validation")]
    if not validations:
        return ""
    step = validations[-1].get("best_step", validations[-1]["step"])
    last = next((entry for entry in reversed(validations) if entry["step"] == step), validations[-1])
    figures = [f"{name} {value:.4g}" for name, value in last.items() if name not in ("step", "validation", "best_step")]
    return f" Held out, step {last['step']}: {', '.join(figures)}." if figures else ""


def commit() -> str:
    """Commit of the running code; the version of an installed package; "unknown" without either."""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        if (ROOT / ".git").exists():  # of our checkout, not of a repository that a package is installed in
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout[:COMMIT_LENGTH]
    except (OSError, subprocess.CalledProcessError):
        pass
    try:
        return f"version {version('lexiseg')}"
    except PackageNotFoundError:
        return "unknown"


def data_entry(what: str, place: Path | str) -> str:
    return f"{what} ({place}); {licence_line(Path(place)) or 'its terms are not stated'}"


def pairs_entries(recipe: PairsRecipe) -> list[str]:
    """Entries of `training_data` for the captioned photographs of a recipe, with their terms."""
    return [data_entry("image-text pairs", recipe.place(name)) for name in recipe.pairs]


def licence_line(folder: Path) -> str | None:
    """First line of the licence file in a folder of data; None without one."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    for path in files:
        if path.is_file() and path.name.partition(".")[0].lower() in LICENCE_FILES:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            return next((line.strip(" #*")[:MAX_TERMS] for line in lines if line.strip(" #*")), None)
    return None


def with_quality(card: ModelCard, folder: Path, segmenter: Segmenter, root: Path, names: Iterable[str]) -> ModelCard:
    """Evaluate a model on the val splits of sets, print a line for each, and write `quality` into its card."""
    quality = {}
    for name in names:
        data = read_dataset(root, name, "val")
        reached = evaluate(segmenter, data).scores
        print(f"{data.name}: mIoU {reached.miou:.2f} %, pixel accuracy {reached.pixel_accuracy:.2f} %", flush=True)
        quality[data.name] = quality_of(reached, data)
    return update_card(card, folder, quality=quality)


def quality_of(reached: Scores, data: IndexedDataset) -> Quality:
    return Quality(
        miou=round(reached.miou, 2), pixel_accuracy=round(reached.pixel_accuracy, 2), images=len(data.samples)
    )


def measure_prompts(segmenter: Segmenter, root: Path, name: str, photographs: int | None = None) -> PromptQuality:
    """Measure and print the IoU for a point in and a box around every object of a val split's first photographs."""
    by_point: list[float] = []
    by_box: list[float] = []
    for scene in islice(object_scenes(root, name, "val").scenes, photographs):
        objects = scene.read_truth()
        if objects.labels:
            features = segmenter.encode(scene.read_image())
            by_point += centre_points().reach(segmenter, features, objects).best.tolist()
            by_box += tight_boxes().reach(segmenter, features, objects).best.tolist()
    point, box = (round(100 * sum(reached) / max(1, len(reached)), 2) for reached in (by_point, by_box))
    print(f"{name}: IoU of a box's mask {box} %, of a point's best mask {point} %", flush=True)
    return PromptQuality(point=point, box=box, objects=len(by_box))
