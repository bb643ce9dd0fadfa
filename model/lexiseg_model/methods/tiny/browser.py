"""Export `tiny` for the browser: ONNX graphs, vectors of common words, an 8-bit text tower, and the card's rules.

The browser reads all constants from here: the card's rules as JSON, and the constants of the modules that apply them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
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
from lexiseg_model.methods.tiny import (
    by_example,
    closer_look,
    mask_rules,
    network,
    pixel_scores,
    prompt_maps,
    segmenter,
)
from lexiseg_model.methods.tiny.mask_graphs import mask_parts
from lexiseg_model.methods.tiny.network import EMBEDDING, TinyNetwork, log_presence
from lexiseg_model.methods.tiny.proposals import proposing, search, windows
from lexiseg_model.methods.tiny.settings import ExampleRule
from lexiseg_model.methods.tiny.weights import TEMPLATE
from lexiseg_model.methods.tiny.words import familiar as familiar_words
from lexiseg_model.methods.tiny.words.text_tower import WIDTH, MiniLM
from lexiseg_model.methods.tiny.words.tower_files import TOKENIZER, tower_folder
from lexiseg_model.tasks import mask_prompts, negative_points, pixels
from lexiseg_model.video import motion, tracking
from lexiseg_model.video.motion_graphs import motion_parts
from lexiseg_model.vocabulary import examples

CARD_FIELDS = {"name", "version", "summary", "licence", "limits", "tasks", "input", "background", "score", "panoptic"}
MAX_CELLS = 512  # of a side at stride 32
MAX_TEXTS = 4096  # of a request
BATCH_SIZE = 256  # texts
CONSTANTS_OF = (  # the browser's code names these modules and their constants
    by_example,
    closer_look,
    examples,
    mask_rules,
    network,
    pixel_scores,
    negative_points,
    mask_prompts,
    motion,
    pixels,
    prompt_maps,
    proposing,
    search,
    tracking,
    windows,
)


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

    background: Tensor
    known: Tensor
    foreign: Tensor

    def __init__(self, model: segmenter.TinySegmenter) -> None:
        super().__init__()
        self.projection, self.direction = model.network.text_projection, model.network.text_level
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
        self.tower = tower
        scale = tower.tokens.abs().amax(1, keepdim=True).clamp_min(1e-9) / 127
        self.register_buffer("table", (tower.tokens / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)

    def forward(self, ids: Tensor) -> Tensor:
        return self.tower.pooled(self.table[ids].float() * self.scale[ids])


def write(
    model: segmenter.TinySegmenter, source: Path, folder: Path, words: Sequence[str], text_tower: Path | None
) -> None:
    """Write all files for the browser into a folder.

    Args:
        model: loaded as exact on the CPU.
        source: its directory; an export there is used.
        folder: an empty folder.
        words: unique lower-case words to write vectors of, so that they need no text tower.
        text_tower: a folder with the text tower; None: the default places.

    Raises:
        ExportError: a required package is not installed, or the network cannot be exported.
    """
    with tempfile.TemporaryDirectory() as draft:
        export_folder, manifest = _image_export(model, source, Path(draft))
        image = (manifest.of("int8") or manifest.of("float32"))[0]
        _cast_outputs(export_folder / image.file, folder / "image.onnx")
        for graph in manifest.parts:
            (folder / graph.file).write_bytes((export_folder / graph.file).read_bytes())
    reading = Reading(model)
    for part in (*_parts(model, reading), *mask_parts(model.settings), *motion_parts()):
        write_part(part, folder)
    _quantise_matrices(folder / "tower.onnx")
    tokens = Tokenizer.from_file(str(tower_folder(text_tower) / TOKENIZER)).get_vocab()
    _save(folder / "tokens.json", sorted(tokens, key=lambda token: tokens[token]))
    _write_words(model, reading, folder, words)
    _save(folder / "model.json", _rules(model, reading))


def _image_export(model: segmenter.TinySegmenter, source: Path, draft: Path) -> tuple[Path, Manifest]:
    """The export in the model's directory, or a new one, in 8 bits if the activation ranges are known."""
    folder = source / "onnx"
    manifest = find(folder, model.digest)
    if manifest is not None:
        return folder, manifest
    manifest = export(model, draft / "onnx")
    ranges = source / RANGES
    return draft / "onnx", add_int8(draft / "onnx", manifest, (), ranges) if ranges.is_file() else manifest


def _parts(model: segmenter.TinySegmenter, reading: Reading) -> list[Part]:
    tiny, settings = model.network, model.settings
    rows, columns = (Dim(name, min=1, max=MAX_CELLS) for name in ("rows", "columns"))
    texts, length = Dim("texts", min=1, max=MAX_TEXTS), Dim("length", min=2, max=128)
    pixels, by_text = {"pixels": {2: 8 * rows, 3: 8 * columns}}, {"rows": {0: texts}}
    scored = {**pixels, "image": {}, "cells": {2: rows, 3: columns}, "vectors": {0: texts}, "levels": {0: texts}}
    inside, points = {0: 8 * rows, 1: 8 * columns}, {0: texts, 1: 8 * rows, 2: 8 * columns}
    properties = ("vectors", "levels", "background", "likeness", "foreign")
    examples = Examples(settings.examples, by_example.training_words(tiny, model.familiar, torch.device("cpu")))

    def beside(*shape: int) -> Callable[[int, int], list[Tensor]]:
        """Random embeddings of an image, and ones of `shape` [..., h, w]."""
        return lambda rows, columns: [_score_inputs(rows, columns)[0], torch.ones(*shape, 8 * rows, 8 * columns)]

    def with_directions(rows: int, columns: int) -> list[Tensor]:
        return [_score_inputs(rows, columns)[index] for index in (0, 3)]

    return [
        Part("scores", Scores(tiny, settings.presence), _score_inputs, scored, ("scores", "whole")),
        Part("reading", reading, lambda *_: [torch.randn(3, WIDTH)], by_text, properties),
        Part("region", Region(settings.examples.apart), beside(), {**pixels, "inside": inside}, ("row",)),
        Part("alike", Alike(), beside(2), {**pixels, "points": points}, ("alike",)),
        Part("cosines", Cosines(), with_directions, {**pixels, "directions": {0: texts}}, ("cosines",)),
        Part("examples", examples, lambda *_: [torch.randn(3, EMBEDDING)], by_text, ("vectors", "middle", "length")),
        Part(
            "tower", Tower(model.tower), lambda rows, _: [torch.arange(rows + 2)[None]], {"ids": {1: length}}, ("row",)
        ),
    ]


def _score_inputs(rows: int, columns: int) -> list[Tensor]:
    """Random inputs of `Scores` for so many cells at stride 32."""
    embeddings = [
        torch.randn(1, EMBEDDING, 8 * rows, 8 * columns),
        torch.randn(1, EMBEDDING),
        torch.randn(1, EMBEDDING, rows, columns),
    ]
    return [*(F.normalize(part, dim=1).half() for part in embeddings), torch.randn(5, EMBEDDING), torch.randn(5)]


def _cast_outputs(source: Path, target: Path) -> None:
    """Cast the outputs of the image pass's graph to float16, the type of cached features."""
    import onnx
    from onnx import TensorProto, helper

    graph = onnx.load(source)
    for name, output in zip(("pixels", "image", "cells"), graph.graph.output, strict=True):
        graph.graph.node.append(helper.make_node("Cast", [output.name], [name], to=TensorProto.FLOAT16))
        output.name = name
        output.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(graph, target)


def _quantise_matrices(path: Path) -> None:
    """Store the matrices of a graph in int8 with a scale per row; products stay in float32.

    8-bit activations would change 5 % of the labels.
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


def _write_words(model: segmenter.TinySegmenter, reading: Reading, folder: Path, words: Sequence[str]) -> None:
    """Write `words.json` (the words) and `words.bin` (these arrays, one after the other).

    Vectors [N, 96] and levels [N] in float16; cosine [N] with the nearest training word in 1/65535, uint16; whether a
    word is foreign [N], uint8; which background words mean the same [N, bits], packed in uint8.
    """
    batches: list[tuple[NDArray[Any], ...]] = []
    with torch.inference_mode():
        for start in range(0, len(words), BATCH_SIZE):
            texts = model.texts(tuple(map(types.ClassEntry, words[start : start + BATCH_SIZE])))
            rows = model.encode_texts(texts)
            batches.append(tuple(part.numpy() for part in reading(torch.from_numpy(rows).float())))
    properties = (np.concatenate(part) for part in zip(*batches, strict=True))
    vectors, levels, background, likeness, foreign = properties
    same = np.packbits(background >= model.card.background.same_meaning, axis=1, bitorder="little")
    arrays: list[NDArray[Any]] = [
        vectors.astype(np.float16),
        levels.astype(np.float16),
        (likeness.clip(0, 1) * 65535).round().astype(np.uint16),
        foreign.astype(np.uint8),
        same,
    ]
    (folder / "words.bin").write_bytes(b"".join(array.tobytes() for array in arrays))
    _save(folder / "words.json", list(words))


def _rules(model: segmenter.TinySegmenter, reading: Reading) -> dict[str, Any]:
    with torch.inference_mode():
        vectors = reading(reading.background)[0]
    return {
        "card": {**model.card.model_dump(mode="json", include=CARD_FIELDS), "refinements": []},
        "settings": model.settings.model_dump(mode="json"),
        "constants": {module.__name__.rpartition(".")[2]: _constants(module) for module in CONSTANTS_OF},
        "score": {"least": types.MIN_PROBABILITY, "most": types.MAX_LOGIT},
        "nobody": float(model.network.log_scale.exp() * model.network.nobody),
        "template": TEMPLATE,
        "background": vectors.flatten().tolist(),
        "familiar": None if model.familiar is None else {"bound": model.familiar.bound},
        "flow": motion.flow_settings(),
        "smoothing": types.DEFAULT_SMOOTHING,
        "takes_masks": model.takes_masks,
    }


def _constants(module: ModuleType) -> dict[str, Any]:
    """The numeric constants of a module, by name."""
    return {
        name: value
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, int | float | tuple | dict)
    }


def _save(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, separators=(",", ":"), allow_nan=False))


def require(model: object) -> segmenter.TinySegmenter:
    """Return the model if a browser can run it.

    Raises:
        ExportError: it is of another method.
    """
    if not isinstance(model, segmenter.TinySegmenter):
        raise ExportError("expected a model of the method tiny, the bundled one or one of `lexiseg train finetune`")
    return model
