"""The graphs of a page without a service, as parts for export.

Their templates are part of the package, so that a site is written without a trace; `make graphs` writes them anew.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.export import Dim

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.export.exportable import Part
from lexiseg_model.methods.tiny import by_example
from lexiseg_model.methods.tiny.browser_graphs import (
    Examples,
    Means,
    Presence,
    PushAway,
    Reading,
    Region,
    ScaleExamples,
    Scores,
    SegmentScores,
    Things,
    Tower,
)
from lexiseg_model.methods.tiny.graphs import with_templates
from lexiseg_model.methods.tiny.mask_graphs import mask_parts
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import TinySettings
from lexiseg_model.methods.tiny.weights import FOLDER
from lexiseg_model.methods.tiny.words.text_tower import WIDTH

MAX_CELLS = 512  # of a side at stride 32
MAX_TEXTS = 4096  # of a request
MAX_SEGMENTS = 2**20


def browser_parts(model: TinySegmenter, reading: Reading) -> list[Part]:
    """All graphs of a page without a service besides the image pass and the prompt head, for export."""
    tiny, settings = model.network, model.settings
    rows, columns = (Dim(name, min=1, max=MAX_CELLS) for name in ("rows", "columns"))
    texts, length = Dim("texts", min=1, max=MAX_TEXTS), Dim("length", min=2, max=128)
    pixels, by_text = {"pixels": {2: 8 * rows, 3: 8 * columns}}, {"rows": {0: texts}}
    classes, groups = Dim("classes", min=1, max=MAX_TEXTS), Dim("groups", min=0, max=MAX_TEXTS)
    words = Dim("background", min=1)
    scored = {
        **pixels,
        "image": {},
        "cells": {2: rows, 3: columns},
        **{name: {0: texts} for name in ("vectors", "owner")},
        "classes": {0: classes},
        "dropped": {0: words},
        **{name: {0: groups} for name in ("groups", "negative", "group_owner")},
    }
    flat, maps = {0: 8 * rows, 1: 8 * columns}, {1: 8 * rows, 2: 8 * columns}
    scored_rows = Dim("classes", min=2, max=MAX_TEXTS)  # the classes and the background
    present = {"scores": {0: scored_rows, **maps}, "whole": {0: scored_rows}, "others": flat}
    region = {**pixels, "mask": flat, "points": {0: texts}, "signs": {0: texts}, "box": {}, "has_box": {}}
    word_lists = {"background": {0: words}, "known": {0: Dim("known", min=1)}}
    properties = ("vectors", "same", "likeness", "foreign")

    with torch.inference_mode():
        background = reading(reading.background)[0]
    parts = [
        Part(
            "scores",
            Scores(tiny, settings.presence, background.clone(), model.card.background),
            partial(_score_inputs, background.shape),
            scored,
            tuple(present),
            {"background": {0: words}},
        ),
        Part("presence", Presence(tiny), _presence_inputs, present, ("presence",)),
        *_belief_parts(model),
        Part(
            "means",
            Means(),
            partial(_means_inputs, tiny.embedding),
            {**pixels, "masks": {0: texts, **maps}},
            ("means",),
        ),
        Part("reading", reading, lambda *_: [torch.randn(3, WIDTH)], by_text, properties, word_lists),
        Part(
            "region", Region(settings.examples.apart), partial(_region_inputs, tiny.embedding), region, ("row", "cells")
        ),
        *_example_parts(model, background),
        Part(
            "tower", Tower(model.tower), lambda rows, _: [torch.arange(rows + 2)[None]], {"ids": {1: length}}, ("row",)
        ),
        *mask_parts(settings, model.card.input.multiple),
    ]
    return with_templates(parts, tiny.embedding) if fit_templates(model) else parts


def _belief_parts(model: TinySegmenter) -> list[Part]:
    """The graphs of the card's logistic rules."""
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


def _example_parts(model: TinySegmenter, background: Tensor) -> list[Part]:
    """The graphs of classes by example; `background`: vectors [B, D] of the background words."""
    rule, known = model.settings.examples, by_example.training_words(model.network, model.familiar, torch.device("cpu"))
    n = {0: Dim("examples", min=1, max=MAX_TEXTS)}
    entries, words = {"words": {0: Dim("entries", min=1)}}, {"background": {0: Dim("background", min=1)}}
    pushed = {"vectors": n, "middle": {}, "negative": {}}
    scaled = {"vectors": n, "middle": {}, "rows": n}
    scales = ScaleExamples(rule, background.clone())
    inputs = partial(_vectors, background.shape[1])
    return [
        Part("examples", Examples(rule, known), inputs(3), {"rows": n}, ("vectors", "middle"), entries),
        Part("push-away", PushAway(), inputs(3, 1, 1), pushed, ("pushed",)),
        Part("scale-examples", scales, inputs(3, 1, 3), scaled, ("alone", "beside_words", "covered"), words),
    ]


def _score_inputs(background: torch.Size, rows: int, columns: int) -> list[Tensor]:
    """Random inputs of `Scores` for vectors of background words of that shape [B, D] and so many cells at stride 32."""
    n_background, embedding = background
    return [
        *_embeddings(embedding, rows, columns),
        torch.randn(5, embedding),
        torch.tensor([0, 1, 1, 2, 2]),
        torch.zeros(3),
        torch.arange(n_background) % 2.0,
        4 * F.normalize(torch.randn(4, embedding), dim=1),
        torch.tensor([1.0, 0.0, 1.0, 0.0]),
        torch.tensor([0, 0, 2, 2]),
    ]


def _vectors(embedding: int, *counts: int) -> Callable[[int, int], list[Tensor]]:
    """Random vectors, so many in each input."""
    return lambda *_: [F.normalize(torch.randn(count, embedding), dim=1) for count in counts]


def _embeddings(embedding: int, rows: int, columns: int) -> list[Tensor]:
    """Random embeddings of an image of so many cells at stride 32: of its cells, of the whole, and at that stride."""
    embeddings = [
        torch.randn(1, embedding, 8 * rows, 8 * columns),
        torch.randn(1, embedding),
        torch.randn(1, embedding, rows, columns),
    ]
    return [F.normalize(part, dim=1).half() for part in embeddings]


def _means_inputs(embedding: int, rows: int, columns: int) -> list[Tensor]:
    return [_embeddings(embedding, rows, columns)[0], torch.randn(2, 8 * rows, 8 * columns)]


def _region_inputs(embedding: int, rows: int, columns: int) -> list[Tensor]:
    pixels, masks = _means_inputs(embedding, rows, columns)
    points = torch.tensor([[20.0 * columns, 10.0 * rows], [5.0, 5.0]])
    return [
        pixels,
        masks[0],
        points,
        torch.tensor([1.0, -1.0]),
        torch.tensor([8.0, 6.0, 24.0, 20.0]),
        torch.tensor(0.0),
    ]


def _presence_inputs(rows: int, columns: int) -> list[Tensor]:
    return [torch.randn(4, 8 * rows, 8 * columns), torch.randn(4), torch.randn(8 * rows, 8 * columns)]


def fit_templates(model: TinySegmenter) -> bool:
    """Whether the templates are for that model: the rules of the bundled one are constants in them."""
    bundled = catalogue.read_card(FOLDER)
    return model.settings == TinySettings(**bundled.settings) and model.familiar is not None
