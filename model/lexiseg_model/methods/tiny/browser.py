"""Export `tiny` for the browser: ONNX graphs, vectors of common words, an 8-bit text tower, and numbers as JSON."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.export import Dim

from lexiseg_model import types
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.errors import ExportError
from lexiseg_model.export.choose import find
from lexiseg_model.export.exportable import Part
from lexiseg_model.export.manifest import RANGES, Manifest
from lexiseg_model.export.write import add_int8, export, write_part
from lexiseg_model.methods.tiny import closer_look, segmenter, teaching
from lexiseg_model.methods.tiny.browser_graphs import Means, Presence, Reading, Scores, SegmentScores, Things, Tower
from lexiseg_model.methods.tiny.graphs import with_templates
from lexiseg_model.methods.tiny.mask_graphs import mask_parts
from lexiseg_model.methods.tiny.network import DECODER, MIDDLE
from lexiseg_model.methods.tiny.picture import KEPT
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import Parts, TinySettings
from lexiseg_model.methods.tiny.weights import FOLDER, TEMPLATE
from lexiseg_model.methods.tiny.words.text_tower import TOKENIZER, WIDTH, tower_folder
from lexiseg_model.tasks import mask_prompts, regions
from lexiseg_model.vocabulary import class_names, heads, solving

CARD_FIELDS = {"name", "version", "summary", "licence", "limits", "tasks", "input", "embedding"}
CARD_RULES = {"background", "score", "specks", "panoptic"}
TASKS_WITHOUT_GRAPHS = {"everything"}
BATCH_SIZE = 256  # texts
MAX_CELLS = 512  # of a side at stride 32
MAX_TEXTS = 4096  # of a request
MAX_SEGMENTS = 2**20


def write_browser_files(
    model: segmenter.TinySegmenter, source: Path, folder: Path, words: Sequence[str], text_tower: Path | None
) -> None:
    """Write all files for the browser into an empty folder, and vectors of these unique lower-case words.

    The model is loaded as exact on the CPU; an export in its directory `source` is used.
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
    """Write `words.json` (the words) and `words.bin`, arrays one after the other: what `Reading` gives of each word,
    with the directions [M, F] of training's own words and of parts behind the vectors."""
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
        _directions(model, reading).numpy().astype(np.float16),
        (likeness.clip(0, 1) * 65535).round().astype(np.uint16),  # in 1/65535
        meaning.astype(np.uint16),
        share.astype(np.float16),
        foreign.astype(np.uint8),
        same,
    ]
    (folder / "words.bin").write_bytes(b"".join(array.tobytes() for array in arrays))
    _save(folder / "words.json", list(words))


def _directions(model: segmenter.TinySegmenter, reading: Reading) -> Tensor:
    of_words, of_parts = reading.own_words.directions, model.network.part_directions
    return of_words if of_parts is None else torch.cat([of_words, of_parts.cpu()])


def _rules(model: segmenter.TinySegmenter, reading: Reading) -> dict[str, Any]:
    """What the browser needs in addition to the graphs: the card, and numbers of steps that are no part of a graph."""
    card = model.card.model_dump(mode="json", include=CARD_FIELDS | CARD_RULES)
    tasks = [task for task in card["tasks"] if task not in TASKS_WITHOUT_GRAPHS]
    return {
        "card": {**card, "tasks": tasks, "refinements": []},
        "template": TEMPLATE,
        "shift": list(_directions(model, reading).shape),
        "familiar": None if model.familiar is None else {"bound": model.familiar.bound},
        "stuff": sorted(class_names.stuff_names()),
        "doubts": class_names.DOUBTS,
        "regions": {"min_share": regions.MIN_INSTANCE},
        "parts": _parts(model.settings.parts, len(reading.own_words.directions)),
        "teaching": {
            "digest": heads.kept_digest(model.digest),
            "size": teaching.SIZE,
            "cells": heads.MAX_CELLS,
            "few": solving.FEW_PICTURES,
            "numbers": [*solving.NUMBERS, 0, 0, 1],  # without detail and everyday photographs
        },
        "looks": {"largest": KEPT, "cached": closer_look.MAX_LOOKS},
        "prompts": {
            "max_answers": mask_prompts.MAX_ANSWERS,
            "certain": mask_prompts.CERTAIN,
            "stays_out": mask_prompts.STAYS_OUT,
        },
    }


def _parts(kinds: Sequence[Parts], first: int) -> dict[str, dict[str, int]]:
    """Rows of the directions of parts, from `first` on, by the names of the part and of its whole."""
    rows: dict[str, dict[str, int]] = {}
    for kind in kinds:
        for part, row in kind.directions.items():
            rows.setdefault(part, {}).update(dict.fromkeys(sorted(kind.wholes), first + row if row >= 0 else row))
    return rows


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


def browser_parts(model: TinySegmenter, reading: Reading) -> list[Part]:
    """All graphs of a page without a service besides the image pass and the prompt head, for export."""
    tiny, settings = model.network, model.settings
    rows, columns = (Dim(name, min=1, max=MAX_CELLS) for name in ("rows", "columns"))
    texts, length = Dim("texts", min=1, max=MAX_TEXTS), Dim("length", min=2, max=128)
    pixels = {"pixels": {2: 8 * rows, 3: 8 * columns}}
    taught = {"decoded": pixels["pixels"], "middle": {2: 2 * rows, 3: 2 * columns}}
    classes, words, learned = Dim("classes", min=1, max=MAX_TEXTS), Dim("background", min=1), Dim("learned", min=1)
    # Free of each other: regions are an image one cell high, with the maps of the whole image.
    sides = [{axis: Dim(f"{name}_{axis}", min=1, max=8 * MAX_CELLS) for axis in (2, 3)} for name in ("fine", "middle")]
    scored = {
        "pixels": sides[0],
        "image": {},
        "cells": {2: rows, 3: columns},
        "decoded": sides[0],
        "middle": sides[1],
        **{name: {0: texts} for name in ("vectors", "shifts", "owner")},
        "classes": {0: classes},
        "dropped": {0: words},
        **{name: {0: learned} for name in ("directions", "learned", "text")},
        "company": {},
        "is_part": {0: classes},
        **{name: {0: Dim("pairs", min=1)} for name in ("part", "divided", "dividing")},
    }
    flat, maps = {0: 8 * rows, 1: 8 * columns}, {1: 8 * rows, 2: 8 * columns}
    scored_rows = Dim("classes", min=2, max=MAX_TEXTS)  # the classes and the background
    present = {"scores": {0: scored_rows, **maps}, "whole": {0: scored_rows}, "others": flat}
    with torch.inference_mode():
        background = reading(reading.background)[0].clone(), reading.own_words.shifts(reading.background)
    parts = [
        Part(
            "scores",
            Scores(tiny, settings, background, model.card.background),
            partial(_score_inputs, background[0].shape),
            scored,
            tuple(present),
            {name: {0: words} for name in ("background", "background_shifts")},
        ),
        Part(
            "presence",
            Presence(tiny),
            lambda h, w: [torch.randn(4, 8 * h, 8 * w), torch.randn(4), torch.randn(8 * h, 8 * w)],
            present,
            ("presence",),
        ),
        *_belief_parts(model),
        Part(
            "means",
            Means(),
            lambda h, w: [_embeddings(tiny.embedding, h, w)[0], *_taught(h, w), torch.randn(2, 8 * h, 8 * w)],
            {**pixels, **taught, "masks": {0: texts, **maps}},
            ("means", "decoded_maps", "middle_maps"),
        ),
        _reading_part(reading, {"rows": {0: texts}}, words),
        Part(
            "tower", Tower(model.tower), lambda rows, _: [torch.arange(rows + 2)[None]], {"ids": {1: length}}, ("row",)
        ),
        *mask_parts(settings, model.card.input.multiple),
    ]
    return with_templates(parts, tiny.embedding) if fit_templates(model) else parts


def _reading_part(reading: Reading, by_text: dict[str, dict[int, Dim]], words: Dim) -> Part:
    own, meanings = Dim("own", min=1), Dim("meanings", min=1)
    word_lists = {
        "background": {0: words},
        "known": {0: Dim("known", min=1)},
        "own_words.rows": {0: own},
        "own_words.meaning": {0: own},
        "own_words.directions": {0: meanings},
    }
    properties = ("vectors", "same", "likeness", "foreign", "meaning", "share")
    return Part("reading", reading, lambda *_: [torch.randn(3, WIDTH)], by_text, properties, word_lists)


def _belief_parts(model: TinySegmenter) -> list[Part]:
    rows, classes = Dim("rows", min=2, max=MAX_TEXTS), Dim("classes", min=1, max=MAX_TEXTS)
    n = {0: Dim("segments", min=1, max=MAX_SEGMENTS)}
    pieces = dict.fromkeys(("owner", "probability", "area"), n)
    scores, things = SegmentScores(model.card.score), Things(model.card.panoptic.things)
    return [
        Part("segment-scores", scores, _piece_inputs, {"whole": {0: rows}, **pieces}, ("score",)),
        Part("things", things, _piece_inputs, {"presence": {0: classes}, **pieces}, ("thing",)),
    ]


def _piece_inputs(*_: int) -> list[Tensor]:
    shares = torch.tensor([[0.5, 0.99, 1e-7, 1.0], [0.25, 0.5, 1e-4, 0.2]], dtype=torch.float64)
    return [torch.randn(3), torch.tensor([0, 1, 1, 0]), *shares]


def _score_inputs(background: torch.Size, rows: int, columns: int) -> list[Tensor]:
    """Random inputs of `Scores` for vectors of background words of that shape [B, D] and so many cells at stride 32."""
    n_background, embedding = background
    texts = [torch.randn(5, embedding), torch.randn(5, embedding + MIDDLE + 1), torch.tensor([0, 1, 1, 2, 2])]
    classes = [torch.zeros(3), torch.arange(n_background) % 2.0]
    learned = [torch.randn(2, teaching.SIZE), torch.tensor([2, 0]), torch.rand(2), torch.tensor(3.0)]
    parts = [torch.tensor([0.0, 1.0, 1.0]), torch.tensor([1, 2, 2]), torch.tensor([0, 0, 1])]
    maps = [*_embeddings(embedding, rows, columns), *_taught(rows, columns)]
    return [*maps, *texts, *classes, *learned, *parts, torch.randn(3, embedding + MIDDLE + 1)]


def _embeddings(embedding: int, rows: int, columns: int) -> list[Tensor]:
    """Random embeddings of an image of so many cells at stride 32: of its cells, of the whole, and at that stride."""
    shapes = (1, embedding, 8 * rows, 8 * columns), (1, embedding), (1, embedding, rows, columns)
    return [F.normalize(torch.randn(shape), dim=1).half() for shape in shapes]


def _taught(rows: int, columns: int) -> list[Tensor]:
    fine, coarse = DECODER, teaching.SIZE - DECODER - 1
    return [torch.randn(1, fine, 8 * rows, 8 * columns).half(), torch.randn(1, coarse, 2 * rows, 2 * columns).half()]


def fit_templates(model: TinySegmenter) -> bool:
    """Whether the templates are for that model: the rules of the bundled one are constants in them."""
    bundled = catalogue.read_card(FOLDER)
    return model.settings == TinySettings(**bundled.settings) and model.familiar is not None
