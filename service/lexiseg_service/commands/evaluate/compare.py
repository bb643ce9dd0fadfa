"""`lexiseg eval --compare A B`: two models on the same photographs, with what their difference may owe to chance."""

from __future__ import annotations

import gc
import math
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lexiseg_model.evaluation.comparison.bootstrap import Comparison, Examination, Pair, comparison, examine, read_pair
from lexiseg_service.commands.bar import bar_of
from lexiseg_service.commands.evaluate.reports import Wanted, write_json
from lexiseg_service.commands.in_process import named_or_folder
from lexiseg_service.settings import Settings


class _Judged(NamedTuple):
    """A model's name, digest, and examination of each data set."""

    name: str
    digest: str
    examinations: list[Examination]


def run(settings: Settings, models: tuple[str, str], datasets: list[str], wanted: Wanted) -> int:
    """Measure both models, by name or directory; print a table for each data set and write the report.

    Raises:
        ModelError: a data set or a model is not as expected.
    """
    pairs = [read_pair(wanted.root, name, wanted.split, wanted.limit) for name in datasets]
    a, b = (_judge(settings, name, pairs) for name in models)
    comparisons = [comparison(*of_set) for of_set in zip(pairs, a.examinations, b.examinations, strict=True)]
    for each in comparisons:
        _print(each, a.name, b.name)
    report = {"a": _of(a), "b": _of(b), "datasets": [each.to_json() for each in comparisons]}
    write_json(wanted.json, report)
    return 0


def _judge(settings: Settings, name: str, pairs: list[Pair]) -> _Judged:
    """One model at a time is in memory."""
    segmenter = named_or_folder(settings, name)
    with bar_of(name, sum(pair.photographs for pair in pairs)) as bar:
        examinations = [examine(segmenter, pair, bar.step) for pair in pairs]
    judged = _Judged(name, segmenter.digest, examinations)
    del segmenter
    gc.collect()
    return judged


def _of(judged: _Judged) -> dict[str, Any]:
    return {"model": judged.name, "model_digest": judged.digest}


def _print(compared: Comparison, a: str, b: str) -> None:
    title = f"{compared.dataset}/{compared.split}, {compared.photographs} photographs: B = {b} against A = {a}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("measure, %", no_wrap=True)
    for column in ("A", "B", "B - A", "95 % interval", "for B"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in compared.differences:
        interval = "-" if math.isnan(row.low) else f"{row.low:+.2f}, {row.high:+.2f}"
        share = "-" if math.isnan(row.in_favour) else f"{row.in_favour:.0f} %"
        a_shown, b_shown = _shown(row.a, row.a_error), _shown(row.b, row.b_error)
        table.add_row(row.measure, a_shown, b_shown, _signed(row.difference), interval, share)
    Console().print(table)


def _shown(value: float, error: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f} ±{error:.2f}"


def _signed(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.2f}"
