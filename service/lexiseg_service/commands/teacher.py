"""A running server as the teacher of `lexiseg train distil`: it labels the photographs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from lexiseg_model.data.own.teacher_labels import SoftLabels, Teacher
from lexiseg_service.commands.server import Server
from lexiseg_service.settings import Settings


@contextmanager
def teacher_at(url: str) -> Iterator[Teacher]:
    """The default model of the server at `url`, as a function that labels photographs.

    Raises:
        InvalidValue: `url` is not an address.
        ServerFailure: the server cannot be reached, or has no model with the task semantic.
    """
    with Server(url, Settings()) as server:
        server.check(None, "semantic")

        def label(photograph: bytes, classes: Sequence[str], background: bool) -> SoftLabels:
            fields = {"classes": [*classes], "background": background, "mask": "png", "confidence": True}
            answer = server.segment(photograph, fields)
            scores = np.zeros(len(classes))
            for each in answer.segments:
                scores[each.class_index] = each.score
            assert answer.confidence is not None
            return SoftLabels(f"{answer.model} {answer.model_digest[:16]}", answer.class_map, scores, answer.confidence)

        yield label
