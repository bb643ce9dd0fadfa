"""`lexiseg data pseudo-label`."""

from __future__ import annotations

from pathlib import Path

import typer

from lexiseg_model.data.indexed import BACKGROUND, read_classes
from lexiseg_model.data.preparing.pseudo_labels import Labelling, photographs_in, write_pseudo_labels
from lexiseg_service.commands.bar import bar_of
from lexiseg_service.commands.classes import resolved
from lexiseg_service.commands.loading import load
from lexiseg_service.commands.segment.question import Question
from lexiseg_service.settings import Settings


def of_listing(listing: Path, background: bool | None) -> Question:
    """Of a set's classes.json: with a background where the list begins with one, unless told otherwise."""
    names = read_classes(listing)
    named = tuple(name for name in names if name != BACKGROUND)
    return Question(named, None, BACKGROUND in names if background is None else background, 0.0, None)


def run(
    source: Path,
    target: Path,
    question: Question,
    split: str,
    confidence: float,
    max_side: int | None,
    settings: Settings,
) -> None:
    """Labels every photograph and says what could not be read.

    Raises:
        ServiceError: the classes or a value are not as expected.
        ModelError: the model cannot be loaded, or a folder is not as expected.
    """
    images = photographs_in(source)
    labelling = Labelling(resolved(question.validated(), settings), split, confidence, max_side)
    segmenter = load(settings, "semantic")
    with bar_of(str(target)) as bar:
        bar.expect(len(images))
        done = write_pseudo_labels(segmenter, images, target, labelling, bar.step)
    earlier = f", {done.earlier:,} were there before" * bool(done.earlier)
    typer.echo(f"{target / split}: {done.written:,} masks by {segmenter.card.name}{earlier}")
    if done.skips:
        typer.echo(done.skips.summary())
