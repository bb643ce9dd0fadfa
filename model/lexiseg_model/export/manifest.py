"""Manifest of an export (`onnx.json`): its ONNX files and the digest of the model they belong to."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from lexiseg_model.cards import StrictModel
from lexiseg_model.errors import ExportError

MANIFEST = "onnx.json"
RANGES = "int8-ranges.json"  # activation ranges, in an export or a model directory
FOLDER = "onnx"  # subfolder of a model directory and of the cache

Numbers = Literal["float32", "int8"]
Bucket = tuple[int, int]  # (height, width) of tiles


class Graph(StrictModel):
    """One ONNX file, of the image pass or of another part of the model."""

    file: str
    sha256: str
    bytes: int
    numbers: Numbers
    size: Bucket | None = None  # of the tiles it takes; None: any
    part: str | None = None  # name of the part; None: the image pass


class Manifest(StrictModel):
    """Contents of an export. `digest` is the model's: exports of other weights are never run."""

    model: str
    version: str
    digest: str
    opset: int
    made_with: dict[str, str] = Field(description="library: version")
    buckets: list[Bucket] = Field(description="the model's; a graph for any size was checked on some of them")
    int8: str | None = Field(None, description="method that made the int8 graphs")
    graphs: list[Graph]

    def image_pass(self, numbers: Numbers) -> list[Graph]:
        return [graph for graph in self.graphs if graph.numbers == numbers and graph.part is None]

    @property
    def parts(self) -> list[Graph]:
        return [graph for graph in self.graphs if graph.part is not None]


def default_cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lexiseg"


def read(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ExportError(f"{folder} holds no export: no {MANIFEST}") from None
    except ValidationError as error:
        raise ExportError(f"{path} is not a valid manifest: {error}") from None


def verified(folder: Path, graph: Graph) -> bytes:
    """Read an ONNX file and check its SHA-256."""
    path = folder / graph.file
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ExportError(f"{path} is missing; export the model again") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != graph.sha256:
        raise ExportError(f"{path} has sha256 {digest}; its manifest says {graph.sha256}. Export the model again")
    return content
