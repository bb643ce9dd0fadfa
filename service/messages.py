"""What a gateway asks a worker, and what it gets back. Free of torch, so that both sides share it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from model.types import Segment, Task, Vocabulary

MaskFormat = Literal["rle", "none"]


@dataclass(frozen=True)
class WorkerRequest:
    """One image and one question about it."""

    image: bytes  # encoded, as sent
    vocabulary: Vocabulary
    model: str
    task: Task = "semantic"
    mask: MaskFormat = "rle"
    overlay: bool = False
    threshold: float = 0.0
    max_side: int | None = None
    deadline: float = float("inf")  # time.monotonic()


@dataclass(frozen=True)
class Timings:
    """Milliseconds of each stage. `image` is the image pass of the batch that the request was part of."""

    decode: float
    queue: float
    text: float
    image: float
    post: float
    total: float


@dataclass(frozen=True)
class CacheUse:
    """Texts found and not found in the cache, and whether the image's features were."""

    text_hits: int
    text_misses: int
    features: bool = False


@dataclass(frozen=True)
class WorkerAnswer:
    """Rendered: nothing is left to compute."""

    image_id: str
    model: str
    model_digest: str
    task: Task
    size: tuple[int, int]
    segments: tuple[Segment, ...]
    timings: Timings
    cache: CacheUse
    overlay: bytes | None = field(default=None, repr=False)  # PNG
