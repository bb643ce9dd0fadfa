"""Publish trained weights as a model directory: calibrated scores, measured quality, card.

`python -m lexiseg_train.methods.tiny.publish DATA` writes the graphs that are bundled with `tiny`. It needs
onnx and onnxscript. Run it, and commit its files, whenever the bundled weights change.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from lexiseg_model.cards import ModelCard, PanopticRule
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.export.exportable import PartRunner
from lexiseg_model.export.int8 import quantise_part
from lexiseg_model.export.manifest import FOLDER as GRAPHS
from lexiseg_model.export.manifest import MANIFEST, RANGES
from lexiseg_model.export.runner import PartSession
from lexiseg_model.export.write import add_int8, describe, export
from lexiseg_model.methods.tiny.network import TEXT_PROJECTION
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.weights import BUNDLED, FOLDER
from lexiseg_model.methods.tiny.words.familiar import FILE as FAMILIAR
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower
from lexiseg_model.types import Point, Prompt, Task
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.indexed import measurable, read_dataset
from lexiseg_train.data.licences import ATTRIBUTION, Stems, only_usable, usable_photographs, write_attribution
from lexiseg_train.methods.tiny.confidence import fit_scores
from lexiseg_train.methods.tiny.directions.cells import Parts
from lexiseg_train.methods.tiny.texts import TEXTS, TextBook, classes_of, names_of, write_more_words, write_words
from lexiseg_train.methods.tiny.trainings import PUBLISHED_TRUNK, DirectionsRecipe, PromptsRecipe, TinyRecipe
from lexiseg_train.training.model_card import (
    data_entry,
    lineage,
    measure_prompts,
    measure_quality,
    origin_fields,
    update_card,
)

SUMMARY = (
    "A compact convolutional network with one embedding per 4 x 4 pixels, aligned to the MiniLM sentence encoder; "
    "other weights than the bundled ones."
)
STARTED = "what it started from: "  # before what the weights had seen before
IMAGENET = "ImageNet-1k, by the published EfficientNet-Lite2 (Apache-2.0); photographs that were gathered for research"
FAIR = f"Trained on photographs whose licences allow commercial use; credit those that {ATTRIBUTION} names"

RANGES_OF_PROMPTS = {"voc": 14, "street": 6, "camvid": 6, "fashion": 6, "coco": 8}  # photographs of each data set
OF_THE_HEAD: tuple[Task, ...] = ("prompt", "everything")  # tasks that its masks are for
Recipe = TinyRecipe | PromptsRecipe | DirectionsRecipe


def publish(recipe: TinyRecipe, weights: Path) -> ModelCard:
    """Write `card.yaml` next to the weights: the bundled card's rules, scores fitted, quality measured, no prompts."""
    bundled = catalogue.read_card(FOLDER)
    usable = usable_photographs(recipe.data, recipe.sets) if recipe.licences == "fair" else None
    if usable is not None:
        recipe = recipe.model_copy(update={"sets": {name: recipe.sets[name] for name in usable}})
        write_attribution(weights.parent, recipe.data, usable)
    card = bundled.model_copy(
        update=_origin(recipe, weights, recipe.start)
        | {
            "summary": SUMMARY,
            "tasks": [task for task in bundled.tasks if task not in OF_THE_HEAD],
            "panoptic": PanopticRule(),
            "settings": {},
        }
    )
    names = [*names_of(recipe.data, recipe.sets), *card.background.words]
    masked = [*classes_of(recipe.data, recipe.sets), *card.background.words]
    write_words(weights.parent, names, TextBook.read(TEXTS).synonyms, load_text_tower(), masked)
    return _with_figures(card, weights.parent, recipe, usable)


def publish_prompts(recipe: PromptsRecipe, weights: Path) -> ModelCard:
    """Write `card.yaml` next to weights with a new prompt head: the card of the network below, with its tasks."""
    card = catalogue.read_card(folder_below(recipe.base_weights))
    card = card.model_copy(
        update=_origin(recipe, weights, recipe.base_weights, "masks of ")
        | {
            "quality": card.quality,  # words are answered as by the network below
            "tasks": [*(task for task in card.tasks if task not in OF_THE_HEAD), *OF_THE_HEAD],
        }
    )
    words = folder_below(recipe.base_weights) / FAMILIAR
    if words.exists():
        shutil.copyfile(words, weights.parent / FAMILIAR)
    catalogue.write_card(card, weights.parent)
    segmenter = catalogue.load_folder(weights.parent, recipe.device)
    measured = measurable(recipe.data, recipe.sets)
    quality = {name: measure_prompts(segmenter, recipe.data, name) for name in measured}
    return update_card(card, weights.parent, prompt_quality={name: q for name, q in quality.items() if q.objects})


def publish_directions(recipe: DirectionsRecipe, weights: Path) -> ModelCard:
    """Write `card.yaml` next to weights with new directions: the card of the network below, words measured anew."""
    below, folder = folder_below(recipe.base_weights), weights.parent
    card, names = catalogue.read_card(below), classes_of(recipe.data, recipe.sets)
    write_more_words(folder, below, [name for name in (*names, *Parts(recipe.data).names) if name != BACKGROUND])
    card = card.model_copy(
        update=_origin(recipe, weights, recipe.base_weights, "words of ") | {"prompt_quality": card.prompt_quality}
    )
    return _with_figures(card, folder, recipe)


def _with_figures(
    card: ModelCard, folder: Path, recipe: TinyRecipe | DirectionsRecipe, usable: Stems | None = None
) -> ModelCard:
    """Write the card with scores calibrated on the `train` splits, and the quality on the `val` splits that exist."""
    catalogue.write_card(card, folder)
    segmenter = catalogue.load_folder(folder, recipe.device)
    masked = [name for name in recipe.sets if (recipe.data / name / "train" / "masks").is_dir()]
    train = [read_dataset(recipe.data, name, "train") for name in masked]
    train = [data if usable is None else only_usable(data, usable) for data in train]
    card = update_card(card, folder, score=fit_scores(segmenter, train, recipe.seed))
    measured = measurable(recipe.data, recipe.sets)
    quality = measure_quality(segmenter, (read_dataset(recipe.data, name, "val") for name in measured))
    return update_card(card, folder, quality=quality)


def folder_below(below: str) -> Path:
    """Folder of the network that a part was trained over; the bundled one if no card lies next to its weights."""
    path = BUNDLED if below == "bundled" else Path(below)
    return path.parent if (path.parent / catalogue.CARD).exists() else FOLDER


def _origin(
    recipe: TinyRecipe | PromptsRecipe | DirectionsRecipe, weights: Path, start: str, what: str = ""
) -> dict[str, object]:
    """Lineage for a card: `start` names the initial weights, `what` the newly trained parts."""
    trunk, before, below = PUBLISHED_TRUNK, [f"{STARTED}{IMAGENET}"], None
    if start != "scratch":
        path = BUNDLED if start == "bundled" else Path(start)
        trunk, before = started_from(path)
        below = catalogue.read_card(path.parent) if (path.parent / catalogue.CARD).exists() else None
    sources = [data_entry(f"{what}{name}", recipe.data / name) for name in recipe.sets]
    with safe_open(weights, "pt") as file:
        embedding = file.get_slice(TEXT_PROJECTION).get_shape()[0]
    fields = origin_fields(recipe, weights, below=below) | {"embedding": embedding}
    if isinstance(recipe, TinyRecipe) and recipe.licences == "fair" and start == "scratch" and not recipe.licence:
        fields |= {"licence": FAIR, "commercial_use": "yes"}
    return fields | {"training_data": [*before, *sources], "lineage": lineage(recipe, trunk)}


def started_from(weights: Path) -> tuple[str, list[str]]:
    """A description of the initial weights, and their training data, from the card in their folder."""
    if not (weights.parent / catalogue.CARD).exists():
        return str(weights), [f"{STARTED}not known, no card lies beside {weights}"]
    card = catalogue.read_card(weights.parent)
    before = [line if line.startswith(STARTED) else f"{STARTED}{line}" for line in card.training_data]
    return f"{card.name}@{card.version} (sha256 {str(card.weights_sha256)[:16]})", before


def write_graphs(folder: Path, root: Path) -> None:
    """Write the graphs of the bundled model in 8 bits, with ranges of prompts measured on photographs of `root`."""
    segmenter = catalogue.load_folder(FOLDER, "cpu", "exact")
    assert isinstance(segmenter, TinySegmenter)
    with tempfile.TemporaryDirectory() as name:
        draft = Path(name)
        listing = add_int8(draft, export(segmenter, draft), (), FOLDER / RANGES)
        folder.mkdir(exist_ok=True)
        graphs = listing.image_pass("int8")
        shutil.copyfile(draft / graphs[0].file, folder / graphs[0].file)
        sessions = {str(graph.part): PartSession(draft, graph) for graph in listing.parts}
        inputs = _inputs_of_parts(segmenter, sessions, root)
        for graph in listing.parts:
            quantise_part(draft / graph.file, folder / graph.file, inputs[str(graph.part)])
            graphs.append(describe(folder / graph.file, "int8", None, graph.part))
    (folder / MANIFEST).write_text(listing.model_copy(update={"graphs": graphs}).model_dump_json(indent=1) + "\n")


def _inputs_of_parts(
    segmenter: TinySegmenter, sessions: dict[str, PartSession], root: Path
) -> dict[str, list[Mapping[str, NDArray[Any]]]]:
    """Inputs of the parts for random points and boxes on training photographs, to measure ranges."""
    inputs: dict[str, list[Mapping[str, NDArray[Any]]]] = {name: [] for name in sessions}

    def recorded(name: str) -> PartRunner:
        def run(values: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
            inputs[name].append(values)
            return sessions[name](values)

        return run

    segmenter.use_part_runners({name: recorded(name) for name in sessions}, 1)
    random = np.random.default_rng(0)
    for name, count in RANGES_OF_PROMPTS.items():
        samples = read_dataset(root, name, "train").samples
        for place in np.linspace(0, len(samples) - 1, count).astype(int):
            features = segmenter.encode(samples[place].read_image())
            height, width = features.size
            places = (random.random((3, 2)) * (width, height)).tolist()
            points = [Point(x, y, positive) for (x, y), positive in zip(places, (True, True, False), strict=True)]
            low, high = np.sort(random.random((2, 2)), axis=0) * (width, height)
            box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
            prompts = [*(Prompt((point,)) for point in points[:2]), Prompt((), box), Prompt(tuple(points), box)]
            segmenter.prompt(features, prompts)  # with the corrections of the last one
    return inputs


if __name__ == "__main__":
    write_graphs(FOLDER / GRAPHS, Path(sys.argv[1]))
