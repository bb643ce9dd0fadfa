"""The work of `lexiseg bulk`: chunks without rows -> model, in this process or on Ray -> progress and failures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

import typer

from lexiseg_service.commands.bar import bar_of
from lexiseg_service.commands.bulk.job import Destination, Job, Size
from lexiseg_service.commands.bulk.segmenting import Cluster, Report, Segmenting, connect, segment_on
from lexiseg_service.settings import Settings

INTERRUPTED_STATUS = 130  # the exit status of a program that Ctrl-C ended
MIN_JUDGED = 100  # pictures, before a rate of failures ends the job
MAX_REASONS = 3  # reasons of failures
BATCH = 32  # tiles in one image pass by default: what a GPU needs to be busy


def batch_settings(settings: Settings) -> Settings:
    """Settings for many pictures at once: batches of a size for GPUs, a queue that holds two of them, no cache."""
    batch = settings.max_batch if "max_batch" in settings.model_fields_set else BATCH
    return settings.model_copy(
        update={"max_batch": batch, "queue_limit": max(settings.queue_limit, 4 * batch), "feature_cache_bytes": 0}
    )


def work(
    job: Job, size: Size, destination: Destination, to_do: Sequence[int], cluster: Cluster | None, max_rate: float
) -> int:
    """Segment the remaining chunks, in this process without a cluster.

    Returns 1 if more than a share of `max_rate` failed, 130 if Ctrl-C ended it.

    Raises:
        ModelError: the model cannot be loaded, or the cluster cannot be joined.
    """
    before = size.inputs - _inputs_of(destination, to_do, size)
    reports: Iterable[Report]
    if cluster is None:
        reports = _in_process(job, to_do)
    else:
        connect(cluster)
        reports = segment_on(cluster, job, to_do)
    fresh = failures = 0
    reasons: list[str] = []
    too_many = False
    try:
        with bar_of("pictures", size.inputs, before) as bar:
            for report in reports:
                bar.step(report.inputs)
                fresh += report.inputs
                failures += report.failures
                reasons += report.reasons[: MAX_REASONS - len(reasons)]
                too_many = fresh >= MIN_JUDGED and failures > max_rate * fresh
                if too_many:
                    break
    except KeyboardInterrupt:
        typer.echo("lexiseg: stopped; the same command goes on with the rest", err=True)
        return INTERRUPTED_STATUS
    for reason in reasons:
        typer.echo(f"lexiseg: {reason}", err=True)
    if too_many:
        typer.echo(
            f"lexiseg: ended early: {failures:,} of {fresh:,} pictures failed, more than "
            f"{max_rate:.0%}; with --retry-failed the same command tries them again",
            err=True,
        )
    return int(too_many)


def _in_process(job: Job, to_do: Sequence[int]) -> Iterator[Report]:
    with closing(Segmenting(job)) as segmenting:
        yield from map(segmenting, to_do)


def _inputs_of(destination: Destination, chunks: Sequence[int], size: Size) -> int:
    """The number of inputs in chunks: all but the last have as many as the first."""
    full = len(destination.chunk(0))
    return full * len(chunks) - (full * size.chunks - size.inputs if chunks[-1] == size.chunks - 1 else 0)
