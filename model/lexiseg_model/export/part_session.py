"""The graph of a part of a model in ONNX Runtime."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from lexiseg_model.export import onnx_runtime
from lexiseg_model.export.manifest import Graph, verified
from lexiseg_model.export.runner import open_session, run


class PartSession:
    """The graph of a part, on one CPU thread, opened by its first run: few commands need it. Thread-safe."""

    def __init__(self, folder: Path, graph: Graph) -> None:
        """Read the file. Raises ExportError: it is missing or damaged."""
        self._path = folder / graph.file
        self._content = verified(folder, graph)
        self._opening = threading.Lock()
        self._session: Any = None

    @property
    def is_open(self) -> bool:
        """Whether the next run is as quick as later ones."""
        return self._session is not None

    def open(self) -> None:
        """Open the graph now. Raises ExportError: the runtime cannot load it."""
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
