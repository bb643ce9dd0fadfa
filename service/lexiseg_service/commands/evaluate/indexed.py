"""`lexiseg eval`."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console
from rich.table import Table

from lexiseg_model.data.indexed import read_dataset
from lexiseg_model.errors import OptionError
from lexiseg_model.evaluation.run import ONE_VIEW, Report, Views, evaluate
from lexiseg_service.commands.bar import bar_of
from lexiseg_service.commands.evaluate.reports import Wanted, write_json
from lexiseg_service.commands.in_process import named_or_folder
from lexiseg_service.settings import Settings


def run(settings: Settings, wanted: Wanted, renames: list[str], views: Views = ONE_VIEW) -> int:
    """Measures, prints a table and writes the report; of the first `limit` images where one is given.

    Raises:
        ModelError: the data set, the model, a rename or the refinement is not as expected.
    """
    data = read_dataset(wanted.root, wanted.dataset, wanted.split)
    data = replace(data, samples=data.samples[: wanted.limit])
    renamed = dict(_pair(rename, data.classes) for rename in renames)
    segmenter = named_or_folder(settings, settings.model)
    with bar_of(f"{settings.model} on {wanted.dataset}/{wanted.split}", len(data.samples)) as bar:
        report = evaluate(segmenter, data, renamed, bar.step, wanted.refine, views)
    _print(report)
    write_json(wanted.json, report.to_json())
    return 0


def _pair(rename: str, classes: tuple[str, ...]) -> tuple[str, str]:
    name, equals, word = rename.partition("=")
    if not equals or not word or name not in classes:
        raise OptionError(f"--rename {rename!r}: expected CLASS=WORD with CLASS one of {', '.join(classes)}")
    return name, word


def _print(report: Report) -> None:
    table = Table("class", "IoU %", title=f"{report.model} on {report.dataset}/{report.split}, {report.images} images")
    for name, value in zip(report.classes, report.scores.per_class, strict=True):
        table.add_row(name + (f" ({report.renamed[name]})" if name in report.renamed else ""), f"{value:.1f}")
    table.add_section()
    table.add_row("mIoU", f"{report.scores.miou:.2f}")
    table.add_row("pixel accuracy", f"{report.scores.pixel_accuracy:.2f}")
    Console().print(table)
