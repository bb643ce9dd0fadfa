"""What commands ask of the program that they join: its settings, models, class lists and servers.

`lexiseg` replaces a parameter `program: Annotated[Program, "eval"]` of a command by one option for each setting that
the command named there reads, and hands over the object that keeps them. So this package never imports the service.
Does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import typer
from numpy.typing import NDArray

from lexiseg_client import Segmentation
from lexiseg_client import Vocabulary as StoredVocabulary
from lexiseg_model.types import Task, Vocabulary

if TYPE_CHECKING:  # imports torch
    from lexiseg_model.segmenter import Segmenter

INTERRUPTED = 130  # exit status after Ctrl-C


class Photograph(Protocol):
    @property
    def name(self) -> str:
        """As typed, for messages."""

    @property
    def stem(self) -> str:
        """Name, without a suffix, of the files that belong to it."""

    def pixels(self) -> NDArray[np.uint8]:
        """[H, W, 3], upright, as the service sees it."""


class Photographs(Protocol):
    def __iter__(self) -> Iterator[Photograph]: ...

    def segment(self, ask: Callable[[bytes], Segmentation], keep: Callable[[Photograph, Segmentation], None]) -> int:
        """Ask about the content of each, in threads, and keep the answers in order; print warnings and failures.

        Returns the exit status: 1 if a photograph failed, which does not end the others, INTERRUPTED after Ctrl-C.
        """


class Server(Protocol):
    """A server of lexiseg, running somewhere or in this process."""

    def check(self, task: Task) -> None:
        """Raise an error, before any image is sent, if no model of it can do the task or it cannot be asked."""

    def segment(self, image: bytes, fields: dict[str, Any]) -> Segmentation:
        """The masks of an encoded image; `fields` are `POST /segment`'s."""

    def vocabulary(self, name: str) -> StoredVocabulary:
        """A named class list with its thresholds."""

    def keep_vocabulary(self, name: str, classes: Sequence[Any], base: StoredVocabulary) -> None:
        """Write a class list with background and source of `base`, if that has not changed since."""


class ModelSettings(Protocol):
    """Where models come from, and where they compute."""

    @property
    def models_dir(self) -> Path | None:
        """Folder of model directories."""

    @property
    def text_tower(self) -> Path | None:
        """Folder of the text tower of `tiny`, where its package is not installed."""

    @property
    def device(self) -> str:
        """The device: auto, cpu, cuda, cuda:N or mps."""


class Program(Protocol):
    """The program, with the settings of its command line; all methods raise errors that it prints as one line."""

    @property
    def model(self) -> str:
        """NAME or NAME@VERSION of the model."""

    @property
    def settings(self) -> ModelSettings:
        """Settings of the command line and the environment."""

    def check_models(self, *names: str) -> None:
        """Refuse models that are not there, each NAME, NAME@VERSION or a directory, before one is loaded."""

    def load(self, name: str) -> Segmenter:
        """Load a model by NAME, NAME@VERSION or the path of its directory."""

    def load_for(self, task: Task, device: str | None = None) -> Segmenter:
        """Load the model of the settings, which can do a task, on a device [default: that of the settings]."""

    def class_list(
        self, classes: Sequence[str] | None, vocabulary: str | None, *, background: bool | None, others: str = ""
    ) -> Vocabulary:
        """Classes of `-c`, or of a named list; `others`: what could be given instead, for the message."""

    def check_vocabulary(self, name: str, *, to_write: bool) -> None:
        """Refuse a list that is not among this installation's, or, if it is `to_write`, would not be kept."""

    def check_server(self, context: typer.Context, url: str | None) -> None:
        """Refuse an API key without a server, and settings of this process with one."""

    def server(self, url: str | None, task: Task) -> AbstractContextManager[Server]:
        """The server at an address, or without one a server in this process with a model that can do the task."""

    def photographs(self, arguments: Sequence[str]) -> Photographs:
        """The images that files, folders, patterns and URLs name; not of the standard input."""
