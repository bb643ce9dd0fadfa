"""What the protocol's clients are told of the server and its models: names, versions, tensors."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

PLATFORM = "lexiseg"
IMAGE, CLASSES = "image", "classes"
INPUTS = (
    {"name": IMAGE, "datatype": "BYTES", "shape": [1]},
    {"name": CLASSES, "datatype": "BYTES", "shape": [-1]},
)
OUTPUTS = (
    {"name": "labels", "datatype": "BYTES", "shape": [-1]},
    {"name": "class_indices", "datatype": "INT32", "shape": [-1]},
    {"name": "scores", "datatype": "FP32", "shape": [-1]},
    {"name": "boxes", "datatype": "INT32", "shape": [-1, 4]},
    {"name": "areas", "datatype": "INT32", "shape": [-1]},
    {"name": "masks", "datatype": "BYTES", "shape": [-1]},
    {"name": "size", "datatype": "INT32", "shape": [2]},
)


def server_metadata(*extensions: str) -> dict[str, Any]:
    """Who answers."""
    return {"name": PLATFORM, "version": version("lexiseg"), "extensions": list(extensions)}


def model_metadata(card: Mapping[str, Any]) -> dict[str, Any]:
    """A model's tensors; `classes` may be left out for a vocabulary or for prompts."""
    return {
        "name": card["name"],
        "versions": [card["version"]],
        "platform": PLATFORM,
        "inputs": list(INPUTS),
        "outputs": list(OUTPUTS),
    }


def named(name: str, version: str) -> str:
    """A model as a question names it; an empty version is any."""
    return f"{name}@{version}" if version else name
