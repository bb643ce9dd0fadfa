"""What was found of a prompt, as the SDK reads it."""

from __future__ import annotations

from typing import Any, Literal

from lexiseg_service.adapters.answering import chosen, outline, run_lengths
from lexiseg_service.adapters.roboflow.prompts import Prompt
from lexiseg_service.question.messages import WorkerAnswer

Format = Literal["polygon", "rle"]


def result_of(answer: WorkerAnswer, index: int, prompt: Prompt, kind: Format) -> dict[str, Any]:
    """The segments of the prompt at a place."""
    predictions = [
        {
            "masks": run_lengths(segment) if kind == "rle" else [outline(ring) for ring in rings],
            "confidence": segment.score,
            "format": kind,
        }
        for segment, rings in chosen(answer)
        if segment.class_index == index
    ]
    echo = {"prompt_index": index, "type": prompt.type, "text": prompt.text, "num_boxes": len(prompt.boxes)}
    return {"prompt_index": index, "echo": echo, "predictions": predictions}
