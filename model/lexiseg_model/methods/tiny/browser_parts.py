"""The graphs of a page without a service, as parts for export.

Their templates are part of the package, so that a site is written without a trace; `make graphs` writes them anew.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.export import Dim

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.export.exportable import Part
from lexiseg_model.methods.tiny import teaching
from lexiseg_model.methods.tiny.browser_graphs import (
    Means,
    Presence,
    Reading,
    Scores,
    SegmentScores,
    Things,
    Tower,
)
from lexiseg_model.methods.tiny.graphs import with_templates
from lexiseg_model.methods.tiny.mask_graphs import mask_parts
from lexiseg_model.methods.tiny.network import DECODER, MIDDLE
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
    pixels = {"pixels": {2: 8 * rows, 3: 8 * columns}}
    taught = {"decoded": pixels["pixels"], "middle": {2: 2 * rows, 3: 2 * columns}}
    classes, words, learned = Dim("classes", min=1, max=MAX_TEXTS), Dim("background", min=1), Dim("learned", min=1)
    # Free of each other: regions are an image one cell high, beside the maps of the whole image.
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
        Part("presence", Presence(tiny), _presence_inputs, present, ("presence",)),
        *_belief_parts(model),
        Part(
            "means",
            Means(),
            partial(_means_inputs, tiny.embedding),
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
    """The graph of a text's properties, for lists of words of any length."""
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


def _score_inputs(background: torch.Size, rows: int, columns: int) -> list[Tensor]:
    """Random inputs of `Scores` for vectors of background words of that shape [B, D] and so many cells at stride 32."""
    n_background, embedding = background
    return [
        *_embeddings(embedding, rows, columns),
        *_taught(rows, columns),
        torch.randn(5, embedding),
        torch.randn(5, embedding + MIDDLE + 1),
        torch.tensor([0, 1, 1, 2, 2]),
        torch.zeros(3),
        torch.arange(n_background) % 2.0,
        torch.randn(2, teaching.SIZE),
        torch.tensor([2, 0]),
        torch.rand(2),
        torch.tensor(3.0),
    ]


def _embeddings(embedding: int, rows: int, columns: int) -> list[Tensor]:
    """Random embeddings of an image of so many cells at stride 32: of its cells, of the whole, and at that stride."""
    embeddings = [
        torch.randn(1, embedding, 8 * rows, 8 * columns),
        torch.randn(1, embedding),
        torch.randn(1, embedding, rows, columns),
    ]
    return [F.normalize(part, dim=1).half() for part in embeddings]


def _taught(rows: int, columns: int) -> list[Tensor]:
    """Random maps of what teaches."""
    fine, coarse = DECODER, teaching.SIZE - DECODER - 1
    return [torch.randn(1, fine, 8 * rows, 8 * columns).half(), torch.randn(1, coarse, 2 * rows, 2 * columns).half()]


def _means_inputs(embedding: int, rows: int, columns: int) -> list[Tensor]:
    pixels = _embeddings(embedding, rows, columns)[0]
    return [pixels, *_taught(rows, columns), torch.randn(2, 8 * rows, 8 * columns)]


def _presence_inputs(rows: int, columns: int) -> list[Tensor]:
    return [torch.randn(4, 8 * rows, 8 * columns), torch.randn(4), torch.randn(8 * rows, 8 * columns)]


def fit_templates(model: TinySegmenter) -> bool:
    """Whether the templates are for that model: the rules of the bundled one are constants in them."""
    bundled = catalogue.read_card(FOLDER)
    return model.settings == TinySettings(**bundled.settings) and model.familiar is not None
