"""Export `tiny` for the browser: ONNX graphs, vectors of common words, an 8-bit text tower, and numbers as JSON."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lexiseg_model import types
from lexiseg_model.errors import ExportError
from lexiseg_model.export.choose import find
from lexiseg_model.export.manifest import RANGES, Manifest
from lexiseg_model.export.write import add_int8, export, write_part
from lexiseg_model.methods.tiny import closer_look, segmenter, teaching
from lexiseg_model.methods.tiny.browser_graphs import Reading
from lexiseg_model.methods.tiny.browser_parts import browser_parts
from lexiseg_model.methods.tiny.network import KEPT
from lexiseg_model.methods.tiny.weights import TEMPLATE
from lexiseg_model.methods.tiny.words.text_tower import TOKENIZER, WIDTH, tower_folder
from lexiseg_model.tasks import mask_prompts, pixels, point_rules
from lexiseg_model.vocabulary import heads, solving

CARD_FIELDS = {"name", "version", "summary", "licence", "limits", "tasks", "input", "embedding"}
CARD_RULES = {"background", "score", "panoptic"}
TASKS_WITHOUT_GRAPHS = {"everything"}
BATCH_SIZE = 256  # texts


def write_browser_files(
    model: segmenter.TinySegmenter, source: Path, folder: Path, words: Sequence[str], text_tower: Path | None
) -> None:
    """Write all files for the browser into an empty folder, and vectors of these unique lower-case words.

    The model is loaded as exact on the CPU; an export in its directory `source` is used. Raises ExportError if a
    required package is not installed, or the network cannot be exported.
    """
    with tempfile.TemporaryDirectory() as draft:
        export_folder, manifest = _image_export(model, source, Path(draft))
        image = (manifest.image_pass("int8") or manifest.image_pass("float32"))[0]
        _write_image_pass(export_folder / image.file, folder / "image.onnx")
        for graph in manifest.parts:
            (folder / graph.file).write_bytes((export_folder / graph.file).read_bytes())
    reading = Reading(model)
    for part in browser_parts(model, reading):
        write_part(part, folder)
    _quantise_matrices(folder / "tower.onnx")
    tokens = Tokenizer.from_file(str(tower_folder(text_tower) / TOKENIZER)).get_vocab()
    _save(folder / "tokens.json", sorted(tokens, key=lambda token: tokens[token]))
    _write_words(model, reading, folder, words)
    _save(folder / "model.json", _rules(model, reading.own_words.directions))


def _image_export(model: segmenter.TinySegmenter, source: Path, draft: Path) -> tuple[Path, Manifest]:
    """The export in the model's directory, or a new one, in 8 bits if the activation ranges are known."""
    folder = source / "onnx"
    manifest = find(folder, model.digest)
    if manifest is not None:
        return folder, manifest
    manifest = export(model, draft / "onnx")
    ranges = source / RANGES
    return draft / "onnx", add_int8(draft / "onnx", manifest, (), ranges) if ranges.is_file() else manifest


def _write_image_pass(source: Path, target: Path) -> None:
    """Rewrite the graph of the image pass for browsers, with outputs in float16, the type of cached features."""
    import onnx
    from onnx import TensorProto, helper

    from lexiseg_model.export.wasm import rewritten

    graph = rewritten(onnx.load(source))
    for name, output in zip(segmenter.KEPT_MAPS, graph.graph.output, strict=True):
        graph.graph.node.append(helper.make_node("Cast", [output.name], [name], to=TensorProto.FLOAT16))
        output.name = name
        output.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(graph, target)


def _quantise_matrices(path: Path) -> None:
    """Store the matrices of a graph in int8 with a scale per row; 8-bit activations would change 5 % of the labels."""
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

    Vectors [N, D] and the directions [M, F] of training's own words, float16; cosine [N] with the nearest training word
    in 1/65535 and the nearest direction [N], uint16; the share [N] of that, float16; whether a word is foreign [N], and
    which background words mean the same [N, bits], uint8.
    """
    batches: list[tuple[NDArray[Any], ...]] = []
    with torch.inference_mode():
        for start in range(0, len(words), BATCH_SIZE):
            texts = model.texts(tuple(map(types.ClassEntry, words[start : start + BATCH_SIZE])))
            rows = model.encode_texts(texts)
            batches.append(tuple(part.numpy() for part in reading(torch.from_numpy(rows).float())))
    properties = (np.concatenate(part) for part in zip(*batches, strict=True))
    vectors, same_meaning, likeness, foreign, meaning, share = properties
    same = np.packbits(same_meaning > 0, axis=1, bitorder="little")
    arrays: list[NDArray[Any]] = [
        vectors.astype(np.float16),
        reading.own_words.directions.numpy().astype(np.float16),
        (likeness.clip(0, 1) * 65535).round().astype(np.uint16),
        meaning.astype(np.uint16),
        share.astype(np.float16),
        foreign.astype(np.uint8),
        same,
    ]
    (folder / "words.bin").write_bytes(b"".join(array.tobytes() for array in arrays))
    _save(folder / "words.json", list(words))


def _rules(model: segmenter.TinySegmenter, own: torch.Tensor) -> dict[str, Any]:
    """What the browser needs beside the graphs: the card, and numbers of steps that are no part of a graph."""
    card = model.card.model_dump(mode="json", include=CARD_FIELDS | CARD_RULES)
    tasks = [task for task in card["tasks"] if task not in TASKS_WITHOUT_GRAPHS]
    return {
        "card": {**card, "tasks": tasks, "refinements": []},
        "template": TEMPLATE,
        "shift": list(own.shape),
        "familiar": None if model.familiar is None else {"bound": model.familiar.bound},
        "regions": {"min_share": pixels.MIN_INSTANCE},
        "teaching": {
            "digest": heads.kept_digest(model.digest),
            "size": teaching.SIZE,
            "cells": heads.MAX_CELLS,
            "wanted": solving.WANTED,
            "numbers": solving.NUMBERS,
        },
        "looks": {"largest": KEPT, "cached": closer_look.MAX_LOOKS},
        "prompts": {
            "max_answers": mask_prompts.MAX_ANSWERS,
            "certain": point_rules.CERTAIN,
            "stays_out": mask_prompts.STAYS_OUT,
        },
    }


def _save(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, separators=(",", ":"), allow_nan=False))


def require_tiny(model: object) -> segmenter.TinySegmenter:
    """Return the model if a browser can run it. Raises ExportError: it is of another method, or has taught classes."""
    if not isinstance(model, segmenter.TinySegmenter):
        raise ExportError("expected a model of the method tiny, the bundled one or one of `lexiseg train tiny`")
    if model.own_classes:
        names = ", ".join(model.own_classes)
        raise ExportError(
            f"{model.card.name} was taught {names}; without a service a page asks by words alone: serve it"
        )
    return model
