"""What was found of a prompt, as the SDK reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from lexiseg_model.types import Ring, Segment
from lexiseg_service.adapters.answering import outline, run_lengths
from lexiseg_service.adapters.roboflow.prompts import Prompt

Format = Literal["polygon", "rle"]


def prediction_of(segment: Segment, rings: Sequence[Ring], kind: Format) -> tuple[int | None, dict[str, Any]]:
    """The place of the prompt that a segment is of, and the segment."""
    masks = run_lengths(segment) if kind == "rle" else [outline(ring) for ring in rings]
    return segment.class_index, {"masks": masks, "confidence": segment.score, "format": kind}


def results_of(
    prompts: Sequence[Prompt], predictions: Sequence[tuple[int | None, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """The segments of each prompt."""
    found: dict[int | None, list[dict[str, Any]]] = {}
    for index, prediction in predictions:
        found.setdefault(index, []).append(prediction)
    return [
        {
            "prompt_index": index,
            "echo": {
                "prompt_index": index,
                "type": prompt.type,
                "text": prompt.text,
                "num_boxes": len(prompt.boxes),
            },
            "predictions": found.get(index, []),
        }
        for index, prompt in enumerate(prompts)
    ]
