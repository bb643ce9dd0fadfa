"""Answers of POST /segment, as OpenAPI and /docs show them; other examples are generated from the schemas."""

from __future__ import annotations

from typing import Any

SEGMENT: dict[str, Any] = {
    "id": "0f9c1f6f0f7a4c3a9f6f3a2b1c0d9e8f",
    "image_id": "9b0b54d1c7a24f5e8d6c3b2a19080706",
    "model": "tiny",
    "model_digest": "3c1f0a9b8e7d6c5b",
    "task": "semantic",
    "size": [4, 4],
    "segments": [
        {
            "id": 1,
            "label": "sky",
            "class_index": 0,
            "score": 0.9123,
            "area": 8,
            "bbox": [0, 0, 2, 4],
            "prompt_index": None,
            "mask_index": None,
            "quality": None,
            "is_thing": None,
            "track_id": None,
            "mask": {"format": "coco_rle", "size": [4, 4], "counts": "088"},
        }
    ],
    "label_map": None,
    "overlay": None,
    "absent": ["quark"],
    "warnings": [
        {
            "type": "unfamiliar-word",
            "detail": "'quark' is far from every word that tiny was trained on; what it marks is a guess (the nearest "
            "is 'human being' with a likeness of 0.50, familiar words have 0.62)",
            "field": "classes.1",
        }
    ],
    "timings_ms": {"decode": 4.1, "queue": 0.3, "text": 0.1, "image": 38.0, "post": 6.2, "total": 49.0},
    "cache": {"text_hits": 3, "text_misses": 0, "features": False},
}
PROMPTED: dict[str, Any] = SEGMENT | {
    "task": "prompt",
    "segments": [
        SEGMENT["segments"][0]
        | {
            "label": None,
            "class_index": None,
            "score": 0.8741,
            "prompt_index": 0,
            "mask_index": 0,
            "quality": 0.8741,
        }
    ],
    "absent": [],
    "warnings": [],
    "timings_ms": {"decode": 0.1, "queue": 0.0, "text": 0.0, "image": 0.0, "post": 3.4, "total": 3.6},
    "cache": {"text_hits": 0, "text_misses": 0, "features": True},
}
ANSWERS: dict[str, Any] = {
    "classes": {"summary": "A class list", "value": SEGMENT},
    "click": {"summary": "A click on an image sent before", "value": PROMPTED},
}
