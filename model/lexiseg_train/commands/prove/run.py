"""`lexiseg models prove`: the authors' weights on some pictures of a benchmark, next to the published figure."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import typer

from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue.available import available
from lexiseg_model.catalogue.method import methods
from lexiseg_model.errors import OptionError
from lexiseg_train.commands.evaluate.benchmarks import LoadedModel, evaluate, read_sets
from lexiseg_train.commands.evaluate.options import EvalOptions
from lexiseg_train.commands.program import Program
from lexiseg_train.data.benchmark import read_benchmark
from lexiseg_train.evaluation.benchmarks.report import BenchmarkReport, published
from lexiseg_train.evaluation.benchmarks.run import protocol


def prove(
    name: str,
    options: EvalOptions,
    out: Path,
    program: Program,
    files: Sequence[str],
    import_model: Callable[[Sequence[str]], None],
) -> int:
    """Import the files, measure, print both figures, and append a line of JSON to `out`; returns 0.

    `files` are options of `lexiseg models import`, which `import_model` runs; without any the weights are on the hub or
    in the folder of models.
    """
    entry = available().get(name)
    if entry is None:
        raise OptionError(f"no published model {name!r}; known: {', '.join(available())}")
    if entry.method not in methods():
        raise OptionError(f"{name} needs the package of its method, as: {entry.command}")
    if files:
        read_benchmark(options.dataset, options.root, options.split)  # an import would be in the way of the next try
        method = methods()[entry.method].model_name
        folder = () if program.settings.models_dir is None else ("--models-dir", str(program.settings.models_dir))
        import_model(["--method", method, *files, *folder, name])
    loaded = LoadedModel(program, name)
    rules = protocol(protocol_of(loaded.folder.card, options.dataset))
    [data] = read_sets(rules, options)
    report = evaluate(loaded, rules, data, options)
    line = _line(report)
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    beside = f"{report.beside} on all {report.official:,}" if report.published_miou is not None else report.beside
    own_size = " at the model's own size" if report.keeps_size else ""
    typer.echo(
        f"{name} on {options.dataset}, protocol {report.protocol}{own_size}: mIoU {line['miou']:.2f} on "
        f"{report.images:,} pictures; published: {beside}"
    )
    typer.echo(f"a line is in {out}; send it to us in an issue, and the list will say what your run has shown")
    return 0


def protocol_of(card: ModelCard, dataset: str) -> str:
    """Protocol of the figures of a method's authors, whatever the backbone; else TCL's, the same for every method."""
    own = {"method": card.method, "policy": card.settings.get("policy")}
    for row in published():
        of_method = all(row.model.get(key) in (None, value) for key, value in own.items())
        if of_method and dataset in row.miou and row.protocol is not None:
            return row.protocol
    return "tcl"


def _line(report: BenchmarkReport) -> dict[str, Any]:
    """What a run has shown, without names of folders or machines."""
    return {
        "model": report.card.name,
        "weights_sha256": report.card.weights_sha256,
        "digest": report.digest,
        "architecture": report.card.settings.get("architecture"),
        "protocol": report.protocol,
        "rule": report.rule.as_applied(report.card).model_dump(mode="json", exclude={"queries", "background"}),
        "refine": report.refine,
        "dataset": report.benchmark.name,
        "split": report.split,
        "images": report.images,
        "of": report.official,
        "miou": round(report.miou, 2),
        "published": report.published_miou,
        "lexiseg": version("lexiseg"),
        "torch": str(torch.__version__),
        "day": datetime.now(UTC).date().isoformat(),
    }
