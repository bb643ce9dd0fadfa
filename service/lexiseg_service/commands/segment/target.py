"""Where answers go: `--out` and `--format`, a folder or the standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from lexiseg_model.types import ClassEntry
from lexiseg_service.commands.segment.annotations import Annotations
from lexiseg_service.commands.segment.earlier import NAME
from lexiseg_service.commands.segment.exports import Exports
from lexiseg_service.commands.segment.files import Manner
from lexiseg_service.commands.segment.formats import Format
from lexiseg_service.commands.segment.question import Question
from lexiseg_service.commands.segment.sources import STDIN, Source
from lexiseg_service.errors import InvalidValue

MAX_VOC_CLASSES = 255  # a palette has 256 colours, one is the background's
# Of several files for one image, the one that the standard output gets.
PRINTED = {
    "coco": NAME,
    "yolo": "labels/*.txt",
    "voc": "SegmentationClass/*.png",
    "labelme": "[!.]*.json",  # not the ledger
    "labelmap": "*.png",
    "cutout": "*.png",
}


@dataclass(frozen=True)
class Target:
    """A format, and the folder that it goes to; `-` is the standard output."""

    out: Path
    kind: Format = "coco"
    manner: Manner = field(default_factory=Manner)

    @property
    def printed(self) -> bool:
        """Whether the answer goes to the standard output."""
        return str(self.out) == STDIN

    @property
    def overlay(self) -> bool:
        """Whether a picture is asked for with each answer."""
        return self.kind == "coco" and not self.printed

    @property
    def seen_from(self) -> Path | None:
        """The folder that ways to the images begin in, where it is not that of the answers."""
        return None

    def check(self, n_classes: int) -> None:
        """Refuse, before a model is loaded, what could not be written.

        Raises:
            InvalidValue: the folder is a file, or the format cannot hold so many classes.
        """
        if self.out.exists() and not self.out.is_dir():
            raise InvalidValue.of("--out", str(self.out), "a folder")
        if self.kind == "voc" and n_classes > MAX_VOC_CLASSES:
            raise InvalidValue.of("--format voc", f"{n_classes} classes", f"at most {MAX_VOC_CLASSES}")

    def keeper(
        self, question: Question, classes: tuple[ClassEntry, ...], sources: Sequence[Source], model: str
    ) -> Annotations | Exports:
        """What writes into the folder."""
        if self.kind == "coco":
            return Annotations(self.out, question, classes, sources, model, self.overlay)
        return Exports(self.out, self.kind, question, classes, sources, model, self.seen_from)

    def through(self, sources: Sequence[Source], run: Callable[[Target], int]) -> int:
        """Runs with a folder; what is for the standard output goes there at the end.

        Raises:
            typer.BadParameter: more goes to the standard output than it can tell apart.
        """
        if not self.printed:
            return run(self)
        if self.kind != "coco" and len(sources) != 1:
            raise typer.BadParameter(f"{len(sources)} images; one can go to the standard output", param_hint="'--out'")
        with TemporaryDirectory() as folder:
            manner = Manner(True, self.manner.skip_existing, self.manner.limits)
            inside = _Printed(Path(folder) / "out", self.kind, manner)
            status = run(inside)
            files = sorted(inside.out.glob(PRINTED[self.kind]))
            if len(files) > 1:
                names = ", ".join(file.name for file in files)
                raise typer.BadParameter(f"several cut-outs ({names}); give a folder", param_hint="'--out'")
            for file in files:
                sys.stdout.buffer.write(file.read_bytes())
            sys.stdout.buffer.flush()
        return status


class _Printed(Target):
    """A folder that is printed and gone: without pictures, and with ways from where the command runs."""

    @property
    def overlay(self) -> bool:
        return False

    @property
    def seen_from(self) -> Path:
        return Path()
