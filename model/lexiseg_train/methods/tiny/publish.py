"""Publish trained weights as a model directory: calibrated scores, measured quality, card.

Scores are a logistic regression (`ScoreRule`) fitted on training photographs and random class lists. Short lists are as
people ask: two thirds of the words are there, the others drawn from all classes. Long lists are fixed, most of their
words absent; each length weighs the same. A segment is right if a twentieth of its labelled pixels is of its class.

`python -m lexiseg_train.methods.tiny.publish DATA` writes the graphs that are bundled with `tiny`. It needs
onnx and onnxscript. Run it, and commit its files, whenever the bundled weights change.
"""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from lexiseg_model.cards import ModelCard, PanopticRule, ScoreRule
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.export.exportable import PartRunner
from lexiseg_model.export.int8 import quantise_part
from lexiseg_model.export.manifest import FOLDER as GRAPHS
from lexiseg_model.export.manifest import MANIFEST, RANGES
from lexiseg_model.export.runner import PartSession
from lexiseg_model.export.write import add_int8, describe, export
from lexiseg_model.masks.rle import decode
from lexiseg_model.methods.tiny.network import TEXT_PROJECTION
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.weights import BUNDLED, FOLDER
from lexiseg_model.methods.tiny.words.familiar import FILE as FAMILIAR
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower
from lexiseg_model.segmenter import RowsOf, Segmenter
from lexiseg_model.tasks import segment
from lexiseg_model.tasks.pixels import score_weights
from lexiseg_model.types import Background, ClassEntry, Point, Prompt, Task, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows, bank_of
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.indexed import IGNORE, IndexedDataset, Sample, evenly_spread, measurable, read_dataset
from lexiseg_train.data.licences import ATTRIBUTION, Stems, only_usable, usable_photographs, write_attribution
from lexiseg_train.methods.tiny.directions.cells import Parts
from lexiseg_train.methods.tiny.texts import TEXTS, TextBook, classes_of, names_of, write_more_words, write_words
from lexiseg_train.methods.tiny.trainings import PUBLISHED_TRUNK, DirectionsRecipe, PromptsRecipe, TinyRecipe
from lexiseg_train.training.model_card import (
    data_entry,
    lineage,
    measure_prompts,
    origin_fields,
    update_card,
    with_quality,
)

PHOTOGRAPHS = 600  # of all data sets together, each in proportion to its size, evenly chosen
MIN_DRAWN_FROM = 20  # words; a set of one class would always show it
LENGTHS = (1, 1, 2, 2, 6, 6, 20, 100)  # of the lists for each photograph; short lists give few segments
SHORT = 6  # words
LIKELY = 2 / 3  # share of the words of a short list that are there
RIGHT = 0.05  # share of a segment's labelled pixels from which it is right
MIN_SHARE = 0.005  # share of the photograph's pixels from which a class is seen
LABELLED = 0.2  # share of its pixels from which a segment counts
THRESHOLD = 0.5  # of the rule: more likely right than wrong
RIDGE = 1.0  # small against the squares of thousands of segments
LENGTH = 2  # column of the inputs: ln of the list's length
STEPS, CONVERGED = 25, 1e-6  # of Newton's method, at most, and the change of all weights that ends it
BINS = 10  # of the calibration error
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


class Segments(NamedTuple):
    """Inputs of the rule [N, 4] (presence, log-odds, ln of the list's length, ln of the area), and which are right."""

    inputs: NDArray[np.float64]
    right: NDArray[np.bool_]


def gather(
    segmenter: Segmenter, data: IndexedDataset, photographs: int, rare: Sequence[str], seed: int = 0
) -> Segments:
    """Ask for random lists in some photographs, by mean probabilities, whatever the rule of the model's own card.

    `rare` are words that no photograph shows unless its data set names them."""
    random, rows_of = np.random.default_rng(seed), KnownRows(segmenter)
    card = segmenter.card
    segmenter.card = card.model_copy(update={"score": None})  # scores are then mean probabilities
    try:
        segments = [
            row
            for sample in evenly_spread(data.samples, photographs)
            for row in _judged(segmenter, rows_of, data, sample, rare, random)
        ]
    finally:
        segmenter.card = card
    rows = np.array(segments, np.float64).reshape(-1, 5)
    return Segments(rows[:, :4], rows[:, 4] > 0)


def logistic(
    inputs: NDArray[np.floating],
    right: NDArray[np.bool_],
    importance: NDArray[np.floating],
    ridge: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Weights [D] of a logistic regression of `right` [N] on `inputs` [N, D], by Newton's method on the log-likelihood.

    `importance` [N] is the weight of each row, `ridge` [D] half the penalty of each weight's square.
    """
    weights = np.zeros(inputs.shape[1])
    for _ in range(STEPS):
        likely = 1 / (1 + np.exp(-inputs @ weights))
        gradient = inputs.T @ (importance * (right - likely)) - ridge * weights
        curvature = (inputs * (importance * likely * (1 - likely))[:, None]).T @ inputs + np.diag(ridge)
        change = np.linalg.solve(curvature, gradient)
        weights += change
        if np.abs(change).max() < CONVERGED:
            break
    return weights


def fit(segments: Segments) -> ScoreRule:
    inputs = np.column_stack([segments.inputs, np.ones(len(segments.inputs))])
    _, length, count = np.unique(segments.inputs[:, LENGTH], return_inverse=True, return_counts=True)
    importance = len(inputs) / len(count) / count[length]
    weights = logistic(inputs, segments.right, importance, np.full(inputs.shape[1], RIDGE))
    presence, probability, classes, area, bias = (round(float(weight), 3) for weight in weights)
    return ScoreRule(
        presence=presence, probability=probability, classes=classes, area=area, bias=bias, threshold=THRESHOLD
    )


def fit_scores(segmenter: Segmenter, train: Sequence[IndexedDataset], seed: int) -> ScoreRule:
    """Fit the rule of a model on the training splits of data sets, and print its calibration error there."""
    rare = TextBook.read(TEXTS).rare
    share = PHOTOGRAPHS / sum(len(data.samples) for data in train)
    parts = [gather(segmenter, data, math.ceil(share * len(data.samples)), rare, seed) for data in train]
    together = Segments(*map(np.concatenate, zip(*parts, strict=True)))
    rule = fit(together)
    error = calibration_error(scores(together, rule), together.right)
    print(f"score: {rule.model_dump()}; calibration error {error:.3f} on {len(together.right):,} segments", flush=True)
    return rule


def scores(segments: Segments, rule: ScoreRule) -> NDArray[np.float64]:
    weights = score_weights(rule).numpy()
    return np.asarray(1 / (1 + np.exp(-(segments.inputs @ weights[:4] + weights[4]))), np.float64)


def calibration_error(scored: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error in 0..1, over BINS bins of equal width (Naeini et al., AAAI 2015)."""
    place = np.minimum((scored * BINS).astype(int), BINS - 1)
    gaps = [abs(scored[place == each].sum() - right[place == each].sum()) for each in range(BINS)]
    return float(sum(gaps) / max(1, len(scored)))


def _judged(
    segmenter: Segmenter,
    rows_of: RowsOf,
    data: IndexedDataset,
    sample: Sample,
    rare: Sequence[str],
    random: np.random.Generator,
) -> Iterator[list[float]]:
    image, truth = sample.read(len(data.classes))
    features = segmenter.encode(image)
    values = {name: value for value, name in data.named.items()}
    present = [name for name, value in values.items() if (truth == value).mean() >= MIN_SHARE]
    others = [word for word in rare if word not in values]
    for n_words in LENGTHS:
        words = _draw(list(values), present if n_words <= SHORT else [], others, n_words, random)
        vocabulary = segmenter.explained(Vocabulary(tuple(map(ClassEntry, words)), Background()))
        presence = segmenter.whole_image(features, bank_of(segmenter, vocabulary, rows_of)).tolist()
        for each in segment("semantic", segmenter, features, vocabulary, rows_of=rows_of).segments:
            assert each.class_index is not None
            under = truth[decode(each.mask)]
            labelled = under[under != IGNORE]
            if len(labelled) >= LABELLED * len(under):
                right = (labelled == values.get(words[each.class_index], -1)).mean() >= RIGHT
                odds = np.log(each.score / max(1 - each.score, 1e-6))
                area = each.area / truth.size
                yield [presence[each.class_index], odds, np.log(len(words)), np.log(area), right]


def _draw(
    names: Sequence[str], likely: Sequence[str], others: Sequence[str], n_words: int, random: np.random.Generator
) -> list[str]:
    """A list of words: up to two thirds are likely, the rest drawn from all names; others fill it up."""
    n_likely = int(LIKELY * n_words + random.random())
    first = random.permutation(likely).tolist()[:n_likely] if likely else []
    filling, n_filled = random.permutation(others).tolist(), max(0, MIN_DRAWN_FROM - len(names))
    rest = random.permutation([*(name for name in names if name not in first), *filling[:n_filled]]).tolist()
    return [*first, *rest, *filling[n_filled:]][:n_words]


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
    return with_quality(card, folder, segmenter, recipe.data, measurable(recipe.data, recipe.sets))


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
