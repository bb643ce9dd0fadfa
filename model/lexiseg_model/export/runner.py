"""Run exported graphs in ONNX Runtime or OpenVINO: the image pass of a model, and its parts."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import ExportError
from lexiseg_model.export import onnx_runtime
from lexiseg_model.export.manifest import Bucket, Graph, Manifest, Numbers, verified

TILES = "tiles"  # the one input of every graph of an image pass

# Messages of the CPU's allocator, its arenas, and CUDA.
OUT_OF_MEMORY = ("bad_alloc", "Failed to allocate memory", "out of memory")

Engine = Literal["ONNX Runtime", "OpenVINO", "TensorRT"]
MAX_COPIED_BYTES = 32 * 2**20  # of a graph; the weights of larger ones are not kept twice


class OnnxRunner:
    """The image pass of one export, with a session for each graph.

    All sessions are created at once, so that a damaged file fails when the model loads, not during a request. On a CPU
    a pass has all threads while others leave cores idle, else one: handing each operator to others costs a tenth.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        numbers: Numbers,
        device: torch.device,
        *,
        exact: bool = False,
        engine: Engine = "ONNX Runtime",
    ) -> None:
        """Open the graphs of one number type, which the export has, on a device, which holds their outputs."""
        self._device = device
        self._threads, self._running, self._guard = onnx_runtime.threads(), 0, threading.Lock()
        self._sessions: dict[Bucket | None, tuple[Any, Any]] = {}  # with all threads, and with one
        self.nbytes = 0
        is_split = engine == "ONNX Runtime" and device.type == "cpu" and self._threads > 1
        for graph in manifest.image_pass(numbers):
            opened = partial(_open_image_pass, folder, graph, device=device, exact=exact, engine=engine)
            is_copied = is_split and graph.bytes <= MAX_COPIED_BYTES
            wide = opened(threads=self._threads)
            self._sessions[graph.size] = wide, opened(threads=1) if is_copied else wide
            self.nbytes += graph.bytes * (1 + is_copied)

    @property
    def providers(self) -> list[str]:
        """The execution providers in use, the preferred one first; `OpenVINO` for that engine."""
        session, _ = next(iter(self._sessions.values()))
        return list(session.get_providers())

    def encode(self, tiles: NDArray[np.uint8], outputs: Sequence[int] | None = None) -> tuple[Tensor, ...] | None:
        """The outputs of `image_network` for tiles [N, 3, s, t]: float32, on the model's device; None of other shapes.

        On a CPU a tile's result does not depend on its batch, bit for bit. `outputs`: only these, by number.
        """
        sessions = self._sessions.get((tiles.shape[2], tiles.shape[3])) or self._sessions.get(None)
        if sessions is None:
            return None
        with self._guard:
            self._running += 1
            session = sessions[2 * self._running > self._threads]
        try:
            names = None if outputs is None else [session.get_outputs()[place].name for place in outputs]
            # One by one: a batch is no faster on a CPU, and its kernels round differently from a single tile's.
            batches = np.split(tiles, len(tiles)) if self._device.type == "cpu" else [tiles]
            passes = [self._tensors(run(session, {TILES: batch}, names)) for batch in batches]
        finally:
            with self._guard:
                self._running -= 1
        return passes[0] if len(passes) == 1 else tuple(torch.cat(parts) for parts in zip(*passes, strict=True))

    def _tensors(self, arrays: Sequence[NDArray[Any]]) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(array).to(self._device) for array in arrays)


def _open_image_pass(
    folder: Path, graph: Graph, *, device: torch.device, exact: bool, engine: Engine, threads: int
) -> Any:
    if engine == "OpenVINO":
        if device.type != "cpu":
            raise ExportError(f"device {device} with runtime openvino: it runs graphs on cpu; set LEXISEG_DEVICE=cpu")
        try:
            return onnx_runtime.OpenVinoSession(verified(folder, graph), graph.size, threads)
        except RuntimeError as error:
            raise ExportError(f"OpenVINO cannot load {folder / graph.file}: {error}") from error
    if device.type == "cuda":
        onnx_runtime.preload()
    providers = onnx_runtime.providers(device, exact=exact)
    if engine == "TensorRT":
        providers.insert(0, onnx_runtime.tensorrt(device, exact=exact))
    session = open_session(verified(folder, graph), folder / graph.file, providers, threads)
    onnx_runtime.require_provider(session, device, providers[0][0])
    return session


def open_session(content: bytes, path: Path, providers: Sequence[onnx_runtime.Provider], threads: int) -> Any:
    """A session of ONNX Runtime for the content of a file."""
    onnxruntime = onnx_runtime.require()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1  # the graphs are chains without parallel branches
    # Spinning threads take the cores from decoding, upsampling and RLE, and gain nothing here.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # only errors
    try:
        return onnxruntime.InferenceSession(content, options, providers=list(providers))
    except Exception as error:  # ONNX Runtime's errors have no common base class
        raise ExportError(f"ONNX Runtime cannot load {path}: {error}") from error


def run(session: Any, inputs: Mapping[str, NDArray[Any]], names: Sequence[str] | None = None) -> Any:
    """The outputs of these names, or all. Raises MemoryError: the inputs do not fit into the device's memory."""
    try:
        return session.run(names, dict(inputs))
    except Exception as error:  # ONNX Runtime's errors have no common base class
        if any(message in str(error) for message in OUT_OF_MEMORY):
            raise MemoryError(str(error)) from error  # the worker then splits the batch
        raise


class PartSession:
    """The graph of a part, on one CPU thread, opened by its first run: few commands need it. Thread-safe."""

    def __init__(self, folder: Path, graph: Graph) -> None:
        self._path = folder / graph.file
        self._content = verified(folder, graph)
        self._opening = threading.Lock()
        self._session: Any = None

    @property
    def is_open(self) -> bool:
        """Whether the next run is as quick as later ones."""
        return self._session is not None

    def open(self) -> None:
        with self._opening:
            if not self.is_open:
                providers = onnx_runtime.providers(torch.device("cpu"), exact=True)
                self._session = open_session(self._content, self._path, providers, 1)
                self._content = b""

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        if not self.is_open:
            self.open()
        outputs: list[NDArray[Any]] = run(self._session, inputs)
        return outputs
