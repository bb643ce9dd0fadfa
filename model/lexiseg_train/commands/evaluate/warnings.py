"""Warnings of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable

import typer

from lexiseg_train.training.processes import rank


def warn(sentences: Iterable[str]) -> None:
    """Print each on the standard error, once for all processes of torchrun."""
    for sentence in sentences:
        if rank() == 0:
            typer.echo(f"warning: {sentence}", err=True)
