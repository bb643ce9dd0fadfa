"""Layers of a convolutional network over images of one size, compiled: all of them in one call.

A network is written down once, layer by layer, as what is done with which maps; its filters lie behind each other in
one array, in the order in which they are read. For each size of image the maps are given places in one room, those that
are no longer read making way for others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel import library
from lexiseg_model.kernel.library import call

NONE = -1
LINE = 16  # numbers in a line of the cache, and in the widest vector
BY_FOURS_UP_TO = 192  # channels; beyond, filters at 36 places take longer to read than they spare products

# What a filter of three numbers becomes at the places of a tile: Winograd's F(4, 3) and F(2, 3), as Lavin and Gray
# (2015) give them.
FOURS = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
TWOS = np.array([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]])

Size = tuple[int, int]
Wanted = NDArray[np.float16 | np.float32]


class Kind(IntEnum):
    """What a step does, as layers.c counts them."""

    OF_IMAGE = 0
    DIRECT = 1
    BY_FOURS = 2
    BY_TWOS = 3
    TWICE = 4
    BESIDE_MEAN = 5
    HALVE = 6
    POOL = 7
    UNIT = 8
    GIVEN = 9


class Convolution(NamedTuple):
    """Filters [C out, C in, k, k] and bias [C out], float32; whether a ReLU follows."""

    filters: NDArray[np.float32]
    bias: NDArray[np.float32]
    relu: bool = True


class Map(NamedTuple):
    """What a step makes: [H / stride, W / stride, channels] for an image of H x W, or [1, 1, channels] of all of it."""

    number: int
    channels: int
    stride: int  # 0: there is one pixel

    def shape(self, size: Size) -> tuple[int, int, int]:
        if not self.stride:
            return 1, 1, self.channels
        return size[0] // self.stride, size[1] // self.stride, self.channels


class Step(NamedTuple):
    """Which maps a step reads and makes, and where in the weights its numbers begin."""

    kind: Kind
    source: Map | None
    made: Map
    add: Map | None = None
    kernel: int = 0
    stride: int = 0
    relu: bool = False
    shades: int = 0
    filters: int = 0
    bias: int = 0


class Placed(NamedTuple):
    """Steps for images of one size, as the kernel reads them, and how many numbers their maps need."""

    steps: NDArray[np.int64]
    places: list[int]
    room: int


def panel(lanes: int = 0) -> int:
    """How many channels stand beside each other in filters, for vectors of so many numbers (0: the widest of this
    processor); 0 where there are no compiled layers."""
    return call("layers_panel", lanes) if library.ready() else 0


class Layers:
    """A network of compiled layers: first written down, by the methods that take and return maps, then run.

    What begins it is an image of bytes, the first step, and maps that are given with it, if there are any.
    """

    def __init__(self, panel: int) -> None:
        self._panel = panel
        self._steps: list[Step] = []
        self._unwritten: list[tuple[slice, Callable[[NDArray[np.float32]], None]]] = []
        self._length = 0
        self._placed: dict[Size, Placed] = {}
        self.weights = np.empty(0, np.float32)

    def of_image(self, shades: NDArray[np.float32], convolution: Convolution, stride: int = 2) -> Map:
        """A 3 x 3 convolution over an image of bytes whose values [3, 256] are given."""
        places = {"shades": self._keep_as_is(shades), **self._kept(Kind.OF_IMAGE, convolution)}
        made = Map(0, len(convolution.bias), stride)
        return self._then(Step(Kind.OF_IMAGE, None, made, None, 3, stride, convolution.relu, **places))

    def given(self, channels: int, stride: int) -> Map:
        """Maps that come with each image, float16."""
        return self._then(Step(Kind.GIVEN, None, Map(len(self._steps), channels, stride)))

    def convolve(self, source: Map, convolution: Convolution, stride: int = 1, add: Map | None = None) -> Map:
        """Amid zeros; `add` is added before the ReLU."""
        out, _, kernel, _ = convolution.filters.shape
        kind = Kind.DIRECT
        if kernel == 3 and stride == 1:
            kind = Kind.BY_FOURS if source.channels <= BY_FOURS_UP_TO else Kind.BY_TWOS
        made = Map(len(self._steps), out, source.stride * stride)
        kept = self._kept(kind, convolution)
        return self._then(Step(kind, source, made, add, kernel, stride, convolution.relu, **kept))

    def twice(self, source: Map) -> Map:
        """Twice as high and wide, bilinear."""
        return self._then(Step(Kind.TWICE, source, Map(len(self._steps), source.channels, source.stride // 2)))

    def beside_mean(self, source: Map) -> Map:
        """The mean of all pixels beside each."""
        return self._then(Step(Kind.BESIDE_MEAN, source, Map(len(self._steps), 2 * source.channels, source.stride)))

    def halve(self, source: Map) -> Map:
        """The mean of 2 x 2 pixels. Sides are even."""
        return self._then(Step(Kind.HALVE, source, Map(len(self._steps), source.channels, 2 * source.stride)))

    def pool(self, source: Map) -> Map:
        """One pixel: the mean of all, and behind it the largest of each channel."""
        return self._then(Step(Kind.POOL, source, Map(len(self._steps), 2 * source.channels, 0)))

    def unit(self, source: Map, parts: int = 1) -> Map:
        """Every pixel at unit length, or each of so many parts of its channels. `source` is read by nobody else."""
        return self._then(Step(Kind.UNIT, source, source, kernel=source.channels // parts))

    def close(self) -> None:
        """The network is complete."""
        self.weights = on_lines(self._length)
        for part, write in self._unwritten:
            write(self.weights[part])
        self._unwritten.clear()

    def run(
        self,
        images: NDArray[np.uint8],
        wanted: Sequence[Map],
        threads: int,
        half: bool,
        given: NDArray[np.float16] | None = None,
    ) -> list[Wanted]:
        """The `wanted` maps [N, h, w, channels] of images [N, 3, H, W], float16 (`half`) or float32.

        `given` are the maps [N, h, w, channels] that come with the images, if the network takes some.

        Threads share an image where there are fewer images than threads. What comes out is the same either way.
        """
        size = images.shape[2], images.shape[3]
        placed = self._placed_for(size, wanted)
        shapes = [(len(images), *each.shape(size)) for each in wanted]
        made: list[Wanted] = [
            np.empty(shape, np.float16) if half else on_lines(math.prod(shape)).reshape(shape) for shape in shapes
        ]
        table = [
            (placed.places[each.number], int(np.prod(each.shape(size))), maps.ctypes.data)
            for each, maps in zip(wanted, made, strict=True)
        ]
        call(
            "layers",
            *(placed.steps, len(placed.steps), self._panel, threads, self.weights),
            *(np.ascontiguousarray(images), len(images), images[0].nbytes if len(images) else 0, given, placed.room),
            *(np.array(table, np.int64), len(table), int(half)),
        )
        return made

    def numbers(self, size: Size, wanted: Sequence[Map]) -> int:
        """How many the maps of an image take, of which `wanted` are kept until the end."""
        return self._placed_for(size, wanted).room

    def _placed_for(self, size: Size, wanted: Sequence[Map]) -> Placed:
        if size not in self._placed:
            self._placed[size] = self._place(size, wanted)
        return self._placed[size]

    def _then(self, step: Step) -> Map:
        self._steps.append(step)
        return step.made

    def _keep(self, length: int, write: Callable[[NDArray[np.float32]], None]) -> int:
        """Where among the weights so many numbers will be, which are written there in the end: never held twice."""
        begin, self._length = self._length, self._length + up_to_line(length)
        self._unwritten.append((slice(begin, begin + length), write))
        return begin

    def _keep_as_is(self, numbers: NDArray[np.float32]) -> int:
        return self._keep(numbers.size, lambda to: np.copyto(to, numbers.ravel()))

    def _kept(self, kind: Kind, convolution: Convolution) -> dict[str, int]:
        out, channels, kernel, _ = convolution.filters.shape
        places = {Kind.BY_FOURS: FOURS, Kind.BY_TWOS: TWOS}.get(kind)
        n_places = kernel * kernel if places is None else len(places) ** 2
        length = n_places * channels * -(-out // self._panel) * self._panel

        def write(to: NDArray[np.float32]) -> None:
            panels = in_panels(convolution.filters, self._panel)
            if places is None:
                to[:] = panels.ravel()
            else:
                at_places(panels, places, to)

        return {"filters": self._keep(length, write), "bias": self._keep_as_is(convolution.bias)}

    @staticmethod
    def _read(step: Step, size: Size) -> tuple[int, int, int]:
        if step.source is not None:
            return step.source.shape(size)
        return step.made.shape(size) if step.kind is Kind.GIVEN else (*size, 3)

    def _place(self, size: Size, wanted: Sequence[Map]) -> Placed:
        """Gives every map the first room that is free from its making to its last reading."""
        last = {step.made.number: index for index, step in enumerate(self._steps)}
        for index, step in enumerate(self._steps):
            for read in (step.source, step.add):
                if read is not None:
                    last[read.number] = index
        last.update({made.number: len(self._steps) for made in wanted})
        places, rows, room = [NONE] * len(self._steps), [], 0
        alive: list[tuple[int, int, int]] = []  # first number, end, and of which map
        for index, step in enumerate(self._steps):
            made = step.made
            if places[made.number] == NONE:
                begin, length = 0, up_to_line(int(np.prod(made.shape(size))))
                alive = [(first, end, number) for first, end, number in alive if last[number] >= index]
                for first, end, _ in sorted(alive):
                    if first - begin >= length:
                        break
                    begin = max(begin, end)
                places[made.number] = begin
                alive.append((begin, begin + length, made.number))
                room = max(room, begin + length)
            height, width, channels = self._read(step, size)
            source = places[step.source.number] if step.source else step.shades
            add = places[step.add.number] if step.add else NONE
            numbers = (height, width, channels, made.channels, step.kernel, step.stride, step.relu)
            rows.append((step.kind, source, places[made.number], add, *numbers, step.filters, step.bias))
        return Placed(np.array(rows, np.int64), places, room)


def on_lines(length: int) -> NDArray[np.float32]:
    """So many numbers [length], not yet written, from the beginning of a line of the cache on.

    A vector that lies across two lines is read twice.
    """
    numbers = np.empty(length + LINE, np.float32)
    before = -numbers.ctypes.data // numbers.itemsize % LINE
    return numbers[before : before + length]


def up_to_line(length: int) -> int:
    """The least multiple of LINE that is not less."""
    return -(-length // LINE) * LINE


def in_panels(filters: NDArray[np.float32], panel: int) -> NDArray[np.float32]:
    """Filters [out, in, k, k] -> [panels, k * k, in, panel], zeros after the last of `out`."""
    out, channels, kernel, _ = filters.shape
    padded = np.zeros((-(-out // panel) * panel, channels, kernel * kernel), np.float32)
    padded[:out] = filters.reshape(out, channels, kernel * kernel)
    return np.ascontiguousarray(padded.reshape(-1, panel, channels, kernel * kernel).transpose(0, 3, 2, 1))


def at_places(panels: NDArray[np.float32], places: NDArray[np.float64], to: NDArray[np.float32]) -> None:
    """Writes panels [panels, 9, in, panel] as they are at each place: [places, panels, in, panel]."""
    seen = np.ascontiguousarray(panels.swapaxes(0, 1)).reshape(9, -1)
    weights = np.kron(places, places).astype(np.float32)
    np.matmul(weights, seen, out=to.reshape(len(weights), -1))
