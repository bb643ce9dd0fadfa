"""What a gateway asks a worker, and what it gets back. Free of torch, so that both sides share it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lexiseg_model.types import AnswerWarning, Prompt, Refinement, Region, Ring, Segment, Task, Vocabulary
from lexiseg_service.question.examples import ExampleRegion

BYTES_OF_A_NUMBER = 5  # of a polygon, in JSON
MANY_BYTES = 256 * 2**10  # of masks and pictures: to write more would keep an event loop from other requests
MaskFormat = Literal["rle", "polygon", "png", "none"]


@dataclass(frozen=True)
class WorkerRequest:
    """One image and one question about it."""

    image: bytes | None  # encoded, as sent; None asks again about the image of `image_id`
    vocabulary: Vocabulary  # without classes where prompts ask for no labels
    model: str
    task: Task = "semantic"
    prompts: tuple[Prompt, ...] = ()  # of the task prompt
    regions: tuple[ExampleRegion, ...] = ()  # of examples, for `Backend.exemplify` alone
    keep_picture: bool = False  # likewise: also answer a small picture, to be kept
    mask: MaskFormat = "rle"
    overlay: bool = False
    confidence: bool = False
    refine: Refinement | None = None  # None: the card's default
    threshold: float | None = None  # None: that of the card
    max_side: int | None = None
    simplify: float = 0.0  # pixels that the borders of polygons may stray
    deadline: float = float("inf")  # time.monotonic()
    image_id: str | None = None
    owner: str = ""  # id of the API key: images sent with it can be asked about again with it alone
    source: str = ""  # whose turns they are, for all protocols the same: a key or an address; "": the owner's
    flow: str = ""  # what takes turns with others of the same source, as a stream's id
    size: tuple[int, int] | None = None  # height and width of the image, where its header has been read
    remember: bool = True  # keeps the features for a second question, and looks for kept ones
    request_id: str = ""  # for the log
    traceparent: str | None = None  # W3C trace context, under which the stages are reported


@dataclass(frozen=True)
class KeptPicture:
    """A picture no larger than a model looks at, and the same regions in it."""

    image: bytes = field(repr=False)  # JPEG
    regions: tuple[Region, ...]


@dataclass(frozen=True)
class Exemplified:
    """What a model made of regions of one image: a row of fp16 for each, under the digest of its weights."""

    image_id: str
    digest: str
    rows: tuple[bytes, ...] = field(repr=False)
    picture: KeptPicture | None = None


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
class RenderedMap:
    """A PNG of segment ids."""

    png: bytes = field(repr=False)
    bits: Literal[8, 16]


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
    mask: MaskFormat = "rle"  # what was asked for; the other formats' fields are empty
    polygons: tuple[list[Ring], ...] | None = None  # one list for each segment
    label_map: RenderedMap | None = None
    overlay: bytes | None = field(default=None, repr=False)  # PNG
    confidence: bytes | None = field(default=None, repr=False)  # 8-bit PNG, 255 = certain
    absent: tuple[str, ...] = ()  # labels that were asked for and that no segment has
    warnings: tuple[AnswerWarning, ...] = ()

    @property
    def bytes_of_masks(self) -> int:
        """About as many as they have when they are written."""
        if self.mask == "rle":
            return sum([len(segment.mask.counts) for segment in self.segments])
        rings = [ring for of_segment in self.polygons or () for ring in of_segment]
        return BYTES_OF_A_NUMBER * sum([len(ring.exterior) + sum(map(len, ring.holes)) for ring in rings])
