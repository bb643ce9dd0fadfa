"""ONNX graphs for the browser of what `tiny` computes with texts, regions and scores, and the templates of all graphs.

`make graphs` writes the templates anew, which are part of the package: a site is written without a trace.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

from lexiseg_model import catalogue, types
from lexiseg_model.export.exportable import Part
from lexiseg_model.export.templates import differ, write_template
from lexiseg_model.methods.tiny import by_example
from lexiseg_model.methods.tiny.graphs import TEMPLATES, with_templates
from lexiseg_model.methods.tiny.mask_graphs import mask_parts
from lexiseg_model.methods.tiny.network import EMBEDDING, TinyNetwork, log_presence
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import ExampleRule, TinySettings
from lexiseg_model.methods.tiny.weights import FOLDER
from lexiseg_model.methods.tiny.words import familiar as familiar_words
from lexiseg_model.methods.tiny.words.text_tower import TOKENS, WIDTH, MiniLM, pooled
from lexiseg_model.video.motion_graphs import motion_parts
from lexiseg_model.vocabulary import examples

MAX_CELLS = 512  # of a side at stride 32
MAX_TEXTS = 4096  # of a request


class Scores(nn.Module):
    """Scores of T texts for an image's cells and for the whole image, as `PixelScores`.

    Args:
        tiny: the network.
        presence: weight of log presence in the scores of pixels.
    """

    def __init__(self, tiny: TinyNetwork, presence: float) -> None:
        super().__init__()
        self.log_scale, self.presence_log_scale = tiny.log_scale, tiny.presence_log_scale
        self.presence_bias, self.weight = tiny.presence_bias, presence

    def forward(
        self, pixels: Tensor, image: Tensor, cells: Tensor, vectors: Tensor, levels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """float16 [1, 96, h, w], [1, 96], [1, 96, a, b], vectors [T, 96] and levels [T] -> [T, h, w] and [T]."""
        coarse = cells[0].float().flatten(1)
        directions = F.normalize(vectors, dim=1)
        evidence = torch.logsumexp(directions @ coarse, 1) - torch.log(torch.ones_like(coarse[0]).sum())
        whole = (directions @ image[0].float()) * self.presence_log_scale.exp() + evidence + self.presence_bias
        flat = pixels[0].float().flatten(1)
        scores = (vectors * self.log_scale.exp()) @ flat + (log_presence(whole) * self.weight + levels)[:, None]
        return scores.view(-1, *pixels.shape[2:]), whole


class Reading(nn.Module):
    """Rows of the text tower [N, 384] -> properties of the texts.

    Vectors [N, 96] and levels [N]; cosines with the background words [N, W]; cosine [N] with the nearest training word;
    1 [N] for a text that is not English.
    """

    direction: Tensor
    background: Tensor
    known: Tensor
    foreign: Tensor

    def __init__(self, model: TinySegmenter) -> None:
        super().__init__()
        self.projection = model.network.text_projection
        self.register_buffer("direction", model.network.text_level)
        words = tuple(map(types.ClassEntry, model.card.background.words))
        known = model.familiar.rows if model.familiar else np.zeros((1, WIDTH), np.float32)
        foreign = model.familiar.foreign if model.familiar else None
        self.register_buffer("background", torch.from_numpy(model.encode_texts(model.texts(words))).float())
        self.register_buffer("known", torch.from_numpy(known))
        foreign = np.zeros(WIDTH + 1, np.float32) if foreign is None else foreign
        self.register_buffer("foreign", torch.from_numpy(foreign).float())

    def forward(self, rows: Tensor) -> tuple[Tensor, ...]:
        rows = rows.half().float()  # the precision of the service's cache
        unit = F.normalize(rows, dim=1)
        likeness = (unit @ self.known.T).amax(1)
        foreign = (unit @ self.foreign[:-1] + self.foreign[-1] > 0) & (likeness < familiar_words.MAX_FOREIGN_LIKENESS)
        vectors = F.normalize(self.projection(rows), dim=1)
        return vectors, unit @ self.direction, rows @ self.background.T, likeness, foreign.float()


class Region(nn.Module):
    """Embeddings [1, 96, h, w] and a region [h, w], 1 inside and 0 outside -> its example row [1, ROW]."""

    def __init__(self, apart: float) -> None:
        super().__init__()
        self.apart = apart

    def forward(self, pixels: Tensor, inside: Tensor) -> tuple[Tensor]:
        flat, cells = pixels[0].float().flatten(1), inside.flatten()
        mean = by_example.subtract_image((flat @ cells / cells.sum())[None], flat.mean(1), self.apart)
        return (torch.cat([mean, by_example.cell_groups(flat.T, cells).view(1, -1)], 1).half().float(),)


class Alike(nn.Module):
    """Embeddings [1, 96, h, w] and P points [P, h, w], 1 at its cell -> the cells [P, h, w] similar (1) to each."""

    def forward(self, pixels: Tensor, points: Tensor) -> tuple[Tensor]:
        unit = F.normalize(pixels[0].float().flatten(1), dim=0)
        point = points.flatten(1) @ unit.T
        bound = examples.MIN_SIMILARITY + (1 - examples.MIN_SIMILARITY) * (point @ F.normalize(unit.mean(1), dim=0))
        return ((point @ unit >= bound[:, None]).float().view(points.shape),)


class Cosines(nn.Module):
    """Embeddings [1, 96, h, w] and directions [G, 96] -> their cosines [G, h, w]."""

    def forward(self, pixels: Tensor, directions: Tensor) -> tuple[Tensor]:
        return ((directions @ pixels[0].float().flatten(1)).view(-1, *pixels.shape[2:]),)


class Examples(nn.Module):
    """Means [N, 96] in a class's rows -> a vector for each [N, 96], their mean [1, 96], and the vectors' length []."""

    words: Tensor

    def __init__(self, rule: ExampleRule, words: Tensor) -> None:
        super().__init__()
        self.rule = rule
        self.register_buffer("words", words)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        vectors, mean = by_example.mix_words(F.normalize(rows, dim=1), self.rule, self.words)
        alike = rows.norm(dim=1).mean().clamp_min(by_example.MIN_ALIKE)
        return vectors, mean, self.rule.length * alike**-self.rule.level


class Tower(nn.Module):
    """Token ids [1, L] of a text -> its row [1, 384]; the token embeddings are int8 with a scale for each token."""

    table: Tensor
    scale: Tensor

    def __init__(self, tower: MiniLM) -> None:
        super().__init__()
        tokens = tower.weights[TOKENS]
        scale = tokens.abs().amax(1, keepdim=True).clamp_min(1e-9) / 127
        self.register_buffer("table", (tokens / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.places = {name: name.replace(".", "/") for name in tower.weights if name != TOKENS}
        for name, place in self.places.items():  # a buffer's name has no dots
            self.register_buffer(place, tower.weights[name])

    def forward(self, ids: Tensor) -> Tensor:
        weights = {name: self.get_buffer(place) for name, place in self.places.items()}
        return pooled(weights, self.table[ids].float() * self.scale[ids])


def browser_parts(model: TinySegmenter, reading: Reading) -> list[Part]:
    """All graphs of a page without a service besides the image pass and the prompt head, for export."""
    tiny, settings = model.network, model.settings
    rows, columns = (Dim(name, min=1, max=MAX_CELLS) for name in ("rows", "columns"))
    texts, length = Dim("texts", min=1, max=MAX_TEXTS), Dim("length", min=2, max=128)
    pixels, by_text = {"pixels": {2: 8 * rows, 3: 8 * columns}}, {"rows": {0: texts}}
    scored = {**pixels, "image": {}, "cells": {2: rows, 3: columns}, "vectors": {0: texts}, "levels": {0: texts}}
    inside, points = {0: 8 * rows, 1: 8 * columns}, {0: texts, 1: 8 * rows, 2: 8 * columns}
    word_lists = {name: {0: Dim(name, min=1)} for name in ("background", "known")}
    properties = ("vectors", "levels", "background", "likeness", "foreign")
    examples = Examples(settings.examples, by_example.training_words(tiny, model.familiar, torch.device("cpu")))

    def beside(*shape: int) -> Callable[[int, int], list[Tensor]]:
        """Random embeddings of an image, and ones of `shape` [..., h, w]."""
        return lambda rows, columns: [_score_inputs(rows, columns)[0], torch.ones(*shape, 8 * rows, 8 * columns)]

    def with_directions(rows: int, columns: int) -> list[Tensor]:
        return [_score_inputs(rows, columns)[index] for index in (0, 3)]

    parts = [
        Part("scores", Scores(tiny, settings.presence), _score_inputs, scored, ("scores", "whole")),
        Part("reading", reading, lambda *_: [torch.randn(3, WIDTH)], by_text, properties, word_lists),
        Part("region", Region(settings.examples.apart), beside(), {**pixels, "inside": inside}, ("row",)),
        Part("alike", Alike(), beside(2), {**pixels, "points": points}, ("alike",)),
        Part("cosines", Cosines(), with_directions, {**pixels, "directions": {0: texts}}, ("cosines",)),
        Part(
            "examples",
            examples,
            lambda *_: [torch.randn(3, EMBEDDING)],
            by_text,
            ("vectors", "middle", "length"),
            {"words": {0: Dim("entries", min=1)}},
        ),
        Part(
            "tower", Tower(model.tower), lambda rows, _: [torch.arange(rows + 2)[None]], {"ids": {1: length}}, ("row",)
        ),
        *mask_parts(settings),
        *motion_parts(),
    ]
    return with_templates(parts) if fit_templates(model) else parts


def _score_inputs(rows: int, columns: int) -> list[Tensor]:
    """Random inputs of `Scores` for so many cells at stride 32."""
    embeddings = [
        torch.randn(1, EMBEDDING, 8 * rows, 8 * columns),
        torch.randn(1, EMBEDDING),
        torch.randn(1, EMBEDDING, rows, columns),
    ]
    return [*(F.normalize(part, dim=1).half() for part in embeddings), torch.randn(5, EMBEDDING), torch.randn(5)]


def fit_templates(model: TinySegmenter) -> bool:
    """Whether the templates are for that model: the rules of the bundled one are constants in them."""
    bundled = catalogue.read_card(FOLDER)
    return model.settings == TinySettings(**bundled.settings) and model.familiar is not None


def write_templates(folder: Path) -> None:
    """Replace the templates of all graphs in a folder."""
    for old in folder.glob("*.onnx"):
        old.unlink()
    model = catalogue.load_folder(FOLDER, "cpu", "exact")
    assert isinstance(model, TinySegmenter)
    for part in (*model.parts(), *browser_parts(model, Reading(model))):
        write_template(part, folder)


def check_templates() -> None:
    """Exit with the names of templates that are not those of the code."""
    with tempfile.TemporaryDirectory() as draft:
        write_templates(Path(draft))
        names = sorted({path.name for folder in (TEMPLATES, Path(draft)) for path in folder.glob("*.onnx")})
        if stale := [name for name in names if differ(TEMPLATES / name, Path(draft) / name)]:
            sys.exit(f"{', '.join(stale)} of {TEMPLATES} out of date: run `make graphs`")


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        check_templates()
    else:
        write_templates(TEMPLATES)
