"""What a browser needs to run `tiny`: graphs, vectors of common words, the text tower in 8 bits, and the card's rules.

The browser reads every number from here: rules of the card as JSON, with the constants of the modules that apply them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.export import Dim

from lexiseg_model import types
from lexiseg_model.errors import ExportError
from lexiseg_model.export.choose import find
from lexiseg_model.export.exportable import Part
from lexiseg_model.export.manifest import RANGES, Manifest
from lexiseg_model.export.write import add_int8, export, write_part
from lexiseg_model.masks import pamr
from lexiseg_model.methods.tiny import (
    by_example,
    click_order,
    closer_look,
    mask_rules,
    network,
    pixel_scores,
    prompt_maps,
    segmenter,
)
from lexiseg_model.methods.tiny.network import EMBEDDING, TinyNetwork, log_presence
from lexiseg_model.methods.tiny.proposals import proposing, search, windows
from lexiseg_model.methods.tiny.settings import ExampleRule
from lexiseg_model.methods.tiny.weights import TEMPLATE
from lexiseg_model.methods.tiny.words import familiar as familiar_words
from lexiseg_model.methods.tiny.words.familiar import Familiar
from lexiseg_model.methods.tiny.words.text_tower import WIDTH, MiniLM
from lexiseg_model.methods.tiny.words.tower_files import TOKENIZER, tower_folder
from lexiseg_model.tasks import mask_prompts, negative_points, pixels
from lexiseg_model.vocabulary import examples

# Of the card.
SHOWN = {"name", "version", "summary", "licence", "limits", "tasks", "input", "background", "score", "panoptic"}
CELLS = 512  # of a side at stride 32, at most
TEXTS = 4096  # of a question, at most
READ_AT_ONCE = 256  # texts
RULES = (
    by_example,
    click_order,
    closer_look,
    examples,
    mask_rules,
    network,
    pixel_scores,
    negative_points,
    mask_prompts,
    pamr,
    pixels,
    prompt_maps,
    proposing,
    search,
    windows,
)


class Scores(nn.Module):
    """Scores of T texts for the cells of an image, and for the image as a whole, as `PixelScores` has them.

    Args:
        tiny: the network.
        presence: weight of a class's presence in the scores of its pixels.
    """

    def __init__(self, tiny: TinyNetwork, presence: float) -> None:
        super().__init__()
        self.log_scale, self.presence_log_scale = tiny.log_scale, tiny.presence_log_scale
        self.presence_bias, self.weight = tiny.presence_bias, presence

    def forward(
        self, pixels: Tensor, image: Tensor, cells: Tensor, vectors: Tensor, levels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """float16 [1, 96, h, w], [1, 96] and [1, 96, a, b]; vectors [T, 96], levels [T] -> [T, h, w] and [T]."""
        around = cells[0].float().flatten(1)
        directions = F.normalize(vectors, dim=1)
        seen = torch.logsumexp(directions @ around, 1) - torch.log(torch.ones_like(around[0]).sum())
        whole = (directions @ image[0].float()) * self.presence_log_scale.exp() + seen + self.presence_bias
        flat = pixels[0].float().flatten(1)
        scores = (vectors * self.log_scale.exp()) @ flat + (log_presence(whole) * self.weight + levels)[:, None]
        return scores.view(-1, *pixels.shape[2:]), whole


class Reading(nn.Module):
    """A row of the text tower [N, 384] -> what the model makes of its text.

    Its vector [N, 96] and level [N]; its likeness to each background word [N, W]; the place of the nearest word of
    training [N] and the likeness [N]; how foreign it looks [N], above 0 if it does.
    """

    def __init__(self, tiny: TinyNetwork, background: Tensor, familiar: Familiar | None) -> None:
        super().__init__()
        self.projection, self.direction = tiny.text_projection, tiny.text_level
        known = torch.zeros(1, WIDTH) if familiar is None else torch.from_numpy(familiar.rows)
        foreign = None if familiar is None else familiar.foreign
        self.register_buffer("background", background)
        self.register_buffer("known", known)
        self.register_buffer(
            "foreign", torch.zeros(WIDTH + 1) if foreign is None else torch.from_numpy(foreign).float()
        )
        self.background: Tensor
        self.known: Tensor
        self.foreign: Tensor

    def forward(self, rows: Tensor) -> tuple[Tensor, ...]:
        rows = rows.half().float()  # as the service keeps them
        unit = F.normalize(rows, dim=1)
        likeness, nearest = (unit @ self.known.T).max(1)
        foreign = unit @ self.foreign[:-1] + self.foreign[-1]
        vectors = F.normalize(self.projection(rows), dim=1)
        return vectors, unit @ self.direction, rows @ self.background.T, nearest, likeness, foreign


class Region(nn.Module):
    """Embeddings [1, 96, h, w] and R regions [R, h, w], 1 inside -> the row of each as an example [R, 96]; and 1 for
    the cells [R, h, w] that are like a region of one cell, as those around a point are."""

    def __init__(self, apart: float) -> None:
        super().__init__()
        self.apart = apart

    def forward(self, pixels: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        flat = pixels[0].float().flatten(1)
        cells = inside.flatten(1)
        rows = by_example.turned_from_picture(cells @ flat.T / cells.sum(1, keepdim=True), flat.mean(1), self.apart)
        unit = F.normalize(flat, dim=0)
        here = cells @ unit.T
        least = examples.LIKE + (1 - examples.LIKE) * (here @ F.normalize(unit.mean(1), dim=0))
        return rows.half().float(), (here @ unit >= least[:, None]).float().view(inside.shape)


class Examples(nn.Module):
    """Rows [N, 96] of what a class is -> a vector for each of them [N, 96], their mean [1, 96], and the length []."""

    def __init__(self, scale: ExampleRule, known: Tensor) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("known", known)
        self.known: Tensor

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        vectors, mean = by_example.leaning(F.normalize(rows, dim=1), self.scale, self.known)
        alike = rows.norm(dim=1).mean().clamp_min(by_example.MIN_ALIKE)
        return vectors, mean, self.scale.length * alike**-self.scale.level


class Tower(nn.Module):
    """Tokens [1, L] of a text -> its row [1, 384]; the table of tokens in 8 bits, each with a scale of its own."""

    def __init__(self, tower: MiniLM) -> None:
        super().__init__()
        self.tower = tower
        scale = tower.tokens.abs().amax(1, keepdim=True).clamp_min(1e-9) / 127
        self.register_buffer("table", (tower.tokens / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.table: Tensor
        self.scale: Tensor

    def forward(self, ids: Tensor) -> Tensor:
        return self.tower.pooled(self.table[ids].float() * self.scale[ids])


def write(
    model: segmenter.TinySegmenter, source: Path, folder: Path, words: Sequence[str], text_tower: Path | None
) -> None:
    """Write everything into a folder.

    Args:
        model: loaded as exact on the CPU.
        source: its directory; graphs that lie there are used.
        folder: an empty one.
        words: whose vectors are written, so that they need no text tower; lower case, each once.
        text_tower: a folder with the text tower, None for the usual places.

    Raises:
        ExportError: what writing needs is not installed, or the network cannot be written as graphs.
    """
    with tempfile.TemporaryDirectory() as draft:
        place, graphs = _graphs(model, source, Path(draft))
        image = (graphs.of("int8") or graphs.of("float32"))[0]
        _in_halves(place / image.file, folder / "image.onnx")
        for graph in graphs.parts:
            (folder / graph.file).write_bytes((place / graph.file).read_bytes())
    for part in _parts(model):
        write_part(part, folder)
    _in_bytes(folder / "tower.onnx")
    tokens = Tokenizer.from_file(str(tower_folder(text_tower) / TOKENIZER)).get_vocab()
    _save(folder / "tokens.json", sorted(tokens, key=lambda token: tokens[token]))
    _write_words(model, folder, words)
    _save(folder / "model.json", _rules(model))


def _graphs(model: segmenter.TinySegmenter, source: Path, draft: Path) -> tuple[Path, Manifest]:
    """The export that lies in the model's directory, or a new one, in 8 bits where the ranges are known."""
    place = source / "onnx"
    graphs = find(place, model.digest)
    if graphs is not None:
        return place, graphs
    graphs = export(model, draft / "onnx")
    ranges = source / RANGES
    return draft / "onnx", add_int8(draft / "onnx", graphs, (), ranges) if ranges.is_file() else graphs


def _parts(model: segmenter.TinySegmenter) -> list[Part]:
    tiny, settings = model.network, model.settings
    cells = {name: Dim(name, min=1, max=CELLS) for name in ("rows", "columns")}
    sides = {2: 8 * cells["rows"], 3: 8 * cells["columns"]}
    texts, length = Dim("texts", min=1, max=TEXTS), Dim("length", min=2, max=128)
    background = torch.from_numpy(model.encode_texts(model.texts(_background(model)))).float()
    free = {
        "pixels": sides,
        "image": {},
        "cells": {2: cells["rows"], 3: cells["columns"]},
        "vectors": {0: texts},
        "levels": {0: texts},
    }
    read = ("vectors", "levels", "background", "nearest", "likeness", "foreign")
    return [
        Part("scores", Scores(tiny, settings.presence), _scored, free, ("scores", "whole")),
        Part(
            "reading",
            Reading(tiny, background, model.familiar),
            lambda *_: [torch.randn(3, WIDTH)],
            {"rows": {0: texts}},
            read,
        ),
        Part(
            "region",
            Region(settings.examples.apart),
            lambda rows, columns: [_scored(rows, columns)[0], torch.ones(2, 8 * rows, 8 * columns)],
            {"pixels": sides, "inside": {0: texts, 1: sides[2], 2: sides[3]}},
            ("rows", "alike"),
        ),
        Part(
            "examples",
            Examples(settings.examples, by_example.known_words(tiny, model.familiar, torch.device("cpu"))),
            lambda *_: [torch.randn(3, EMBEDDING)],
            {"rows": {0: texts}},
            ("vectors", "middle", "length"),
        ),
        Part(
            "tower",
            Tower(model.tower),
            lambda rows, _: [torch.arange(101, 103 + rows)[None]],
            {"ids": {1: length}},
            ("row",),
        ),
    ]


def _scored(rows: int, columns: int) -> list[Tensor]:
    drawn = [
        torch.randn(1, EMBEDDING, 8 * rows, 8 * columns),
        torch.randn(1, EMBEDDING),
        torch.randn(1, EMBEDDING, rows, columns),
    ]
    return [*(F.normalize(part, dim=1).half() for part in drawn), torch.randn(5, EMBEDDING), torch.randn(5)]


def _background(model: segmenter.TinySegmenter) -> tuple[types.ClassEntry, ...]:
    return tuple(map(types.ClassEntry, model.card.background.words))


def _in_halves(source: Path, target: Path) -> None:
    """The graph of the image pass with outputs in float16, as features are kept."""
    import onnx
    from onnx import TensorProto, helper

    graph = onnx.load(source)
    for name, output in zip(("pixels", "image", "cells"), graph.graph.output, strict=True):
        graph.graph.node.append(helper.make_node("Cast", [output.name], [name], to=TensorProto.FLOAT16))
        output.name = name
        output.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(graph, target)


def _in_bytes(path: Path) -> None:
    """Keep the matrices of a graph in 8 bits, each row with a scale of its own; products stay in float32.

    Activations in 8 bits as well would change a twentieth of the labels.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(path)
    for tensor in list(model.graph.initializer):
        matrix = numpy_helper.to_array(tensor)
        if matrix.dtype != np.float32 or matrix.ndim != 2 or matrix.shape[1] < WIDTH:
            continue
        scale = np.abs(matrix).max(1).clip(1e-9) / 127
        parts = {"bytes": (matrix / scale[:, None]).round().astype(np.int8), "scale": scale.astype(np.float32)}
        model.graph.initializer.remove(tensor)
        for name, part in parts.items():
            model.graph.initializer.append(numpy_helper.from_array(part, f"{tensor.name}.{name}"))
        names = [f"{tensor.name}.{name}" for name in parts]
        model.graph.node.insert(0, helper.make_node("DequantizeLinear", names, [tensor.name], axis=0))
    onnx.save(model, path)


def _write_words(model: segmenter.TinySegmenter, folder: Path, words: Sequence[str]) -> None:
    """`words.json` and, array after array in its order, `words.bin`.

    Vectors [N, 96] and levels [N] in float16; likeness [N] to the nearest word of training in 1/65535, and its place
    [N], uint16; whether a word is foreign [N], uint8; which background words mean the same [N, bits of bytes].
    """
    read: list[tuple[NDArray[Any], ...]] = []
    familiar = model.familiar
    reading = Reading(
        model.network, torch.from_numpy(model.encode_texts(model.texts(_background(model)))).float(), familiar
    )
    with torch.inference_mode():
        for start in range(0, len(words), READ_AT_ONCE):
            texts = model.texts(tuple(map(types.ClassEntry, words[start : start + READ_AT_ONCE])))
            rows = model.encode_texts(texts)
            read.append(tuple(part.numpy() for part in reading(torch.from_numpy(rows).float())))
    vectors, levels, background, nearest, likeness, foreign = (np.concatenate(part) for part in zip(*read, strict=True))
    same = np.packbits(background >= model.card.background.same_meaning, axis=1, bitorder="little")
    arrays: list[NDArray[Any]] = [
        vectors.astype(np.float16),
        levels.astype(np.float16),
        (likeness.clip(0, 1) * 65535).round().astype(np.uint16),
    ]
    arrays += [nearest.astype(np.uint16), (foreign > 0).astype(np.uint8), same]
    (folder / "words.bin").write_bytes(b"".join(array.tobytes() for array in arrays))
    _save(folder / "words.json", list(words))


def _rules(model: segmenter.TinySegmenter) -> dict[str, Any]:
    card, settings = model.card, model.settings
    shown = card.model_dump(mode="json", include=SHOWN)
    reading = Reading(model.network, torch.zeros(1, WIDTH), model.familiar)
    background = torch.from_numpy(model.encode_texts(model.texts(_background(model)))).float()
    with torch.inference_mode():
        vectors = reading(background)[0]
    return {
        "card": {**shown, "refinements": []},
        "settings": settings.model_dump(mode="json"),
        "constants": {module.__name__.rpartition(".")[2]: _constants(module) for module in RULES},
        "score": {"least": types.MIN_PROBABILITY, "most": types.MAX_LOGIT},
        "nobody": float(model.network.log_scale.exp() * model.network.nobody),
        "template": TEMPLATE,
        "background": vectors.flatten().tolist(),
        "familiar": None if model.familiar is None else {"words": model.familiar.words, "bound": model.familiar.bound},
        "foreign_below": familiar_words.MAX_FOREIGN_LIKENESS,
    }


def _constants(module: ModuleType) -> dict[str, Any]:
    """The numbers that a module names."""
    named = {
        name: asdict(value) if isinstance(value, pamr.PamrSettings) else value
        for name, value in vars(module).items()
        if name.isupper()
    }
    return {name: value for name, value in named.items() if isinstance(value, int | float | tuple | dict)}


def _save(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, separators=(",", ":"), allow_nan=False))


def require(model: object) -> segmenter.TinySegmenter:
    """The model, if a browser can run it.

    Raises:
        ExportError: it is of another method.
    """
    if not isinstance(model, segmenter.TinySegmenter):
        raise ExportError("a site runs models of the method tiny alone: the bundled one, or one of `lexiseg finetune`")
    return model
