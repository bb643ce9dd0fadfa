"""What `lexiseg` does for commands of other distributions, by the settings of their command line.

They know it only by its methods, as `lexiseg_train.commands.program` writes them down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from lexiseg_client import Segmentation
from lexiseg_model.types import Task, Vocabulary
from lexiseg_service import in_process
from lexiseg_service.commands.image_files import STDIN, Source, sources_of
from lexiseg_service.commands.options import check_server
from lexiseg_service.commands.question import question_of
from lexiseg_service.commands.server import Server
from lexiseg_service.gateway.vocabularies.collection import open_vocabularies
from lexiseg_service.records.documents import run_with
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics

if TYPE_CHECKING:  # imports torch
    from lexiseg_model.segmenter import Segmenter


class Photographs(list[Source]):
    """The images of a command line, each once, in order."""

    def segment(self, ask: Callable[[bytes], Segmentation], keep: Callable[[Source, Segmentation], None]) -> int:
        """Ask about the content of each, in threads, keep the answers in order, and report; the exit status."""
        from lexiseg_service.commands.segment.run import segment_files

        outcome = segment_files(self, ask, lambda source, _, answer: keep(source, answer), quiet=True)
        outcome.report()
        return outcome.status


@dataclass(frozen=True)
class LexisegProgram:
    """Models, class lists and servers by one set of settings; methods raise ServiceError and ModelError."""

    settings: Settings

    @property
    def model(self) -> str:
        return self.settings.first_model

    def check_models(self, *names: str) -> None:
        in_process.check_named(self.settings, *names)

    def load(self, name: str) -> Segmenter:
        return in_process.named_or_folder(self.settings, name)

    def load_for(self, task: Task, device: str | None = None) -> Segmenter:
        changed = {} if device is None else {"device": device}
        return in_process.load(self.settings.model_copy(update=changed), task)

    def class_list(
        self, classes: Sequence[str] | None, vocabulary: str | None, *, background: bool | None, others: str = ""
    ) -> Vocabulary:
        """Classes of `-c`, or of a named list; `others`: what could be given instead, for the message."""
        question = question_of(classes, vocabulary, background=background, others=others)
        return in_process.resolved(question, self.settings, words_alone=True)

    def check_vocabulary(self, name: str, *, to_write: bool) -> None:
        """Refuse a list that is not among this installation's, or, if it is to be `written`, would not be kept."""
        if to_write and self.settings.state_dir is None and self.settings.redis_url is None:
            raise typer.BadParameter(
                "vocabularies of this process end with it: say where they are by LEXISEG_STATE_DIR or "
                "LEXISEG_REDIS_URL, name a running server by --server, or give --dry-run",
                param_hint="'--vocabulary'",
            )
        vocabularies = open_vocabularies(self.settings, Metrics())
        run_with(vocabularies.store, vocabularies.find(name))

    def check_server(self, context: typer.Context, url: str | None) -> None:
        check_server(context, url)

    def server(self, url: str | None, task: Task) -> AbstractContextManager[Server]:
        from lexiseg_service.commands.local import open_server

        return open_server(url, self.settings, task)

    def photographs(self, arguments: Sequence[str]) -> Photographs:
        if STDIN in arguments:
            reason = "not from the standard input: the report reads them again"
            raise typer.BadParameter(reason, param_hint="'IMAGE...'")
        return Photographs(sources_of(arguments, self.settings.limits))
