"""`lexiseg eval benchmark` and `paper`: a model on public benchmarks, published figures next to its own."""

from __future__ import annotations

import json
from dataclasses import replace

import typer

from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.command_line.bar import bar_of
from lexiseg_model.command_line.options import write_json, write_text
from lexiseg_model.errors import DatasetError
from lexiseg_model.segmenter import Segmenter
from lexiseg_train.commands.evaluate import scenes
from lexiseg_train.commands.evaluate.options import EvalOptions
from lexiseg_train.commands.program import Program
from lexiseg_train.data.benchmark import AnnotatedSet, read_benchmark
from lexiseg_train.evaluation.benchmarks.report import (
    POINT_GRID,
    BenchmarkReport,
    PaperLine,
    PaperResult,
    lines_of,
    summary,
    to_markdown,
)
from lexiseg_train.evaluation.benchmarks.run import Protocol, benchmark_run, protocol, total_counts
from lexiseg_train.training.processes import join, rank

ALL = "all"  # every data set of the protocol that is there


def run(program: Program, options: EvalOptions) -> int:
    """Evaluate, print JSON and Markdown, and write the requested files; processes of torchrun share the images."""
    rules = protocol(options.protocol)
    loaded = LoadedModel(program, program.model)
    reports = [evaluate(loaded, rules, data, options) for data in read_sets(rules, options)]
    if rank() == 0:
        _print(reports, options)
    return 0


class LoadedModel:
    """A model that is loaded once for all data sets with a protocol for the same card."""

    def __init__(self, program: Program, name: str) -> None:
        self.folder = catalogue.find(name, program.settings.models_dir)
        self._device, self._text_tower = str(join(program.settings.device)), program.settings.text_tower
        self._card: ModelCard | None = None
        self._segmenter: Segmenter | None = None

    def with_card(self, card: ModelCard) -> Segmenter:
        """The model with this card, loaded unless it is the last one."""
        if self._segmenter is None or card != self._card:
            self._segmenter = None  # two would not fit into memory
            self._segmenter = catalogue.load_folder(
                self.folder.folder, self._device, card=card, text_tower=self._text_tower
            )
            self._card = card
        return self._segmenter


def read_sets(rules: Protocol, options: EvalOptions) -> list[AnnotatedSet]:
    if options.dataset != ALL:
        rules.rule(options.dataset)
        return [_limited(read_benchmark(options.dataset, options.root, options.split), options.limit)]
    sets: list[AnnotatedSet] = []
    for name in rules.datasets:
        try:
            sets.append(_limited(read_benchmark(name, options.root, options.split), options.limit))
        except DatasetError as error:
            if rank() == 0:
                typer.echo(f"left out: {error}", err=True)
    if not sets:
        raise DatasetError(f"{options.root} holds no data set of the protocol {rules.name}")
    return sets


def _limited(data: AnnotatedSet, limit: int | None) -> AnnotatedSet:
    scenes.warn(data.warnings)
    return replace(data, images=data.images[:limit])


def evaluate(loaded: LoadedModel, rules: Protocol, data: AnnotatedSet, options: EvalOptions) -> BenchmarkReport:
    rule = rules.rule(data.benchmark.name)
    segmenter = loaded.with_card(rule.applied_to(loaded.folder.card))
    refine = options.refine or rules.refine or segmenter.card.refine
    job = benchmark_run(segmenter, data, rule, refine, options.progress)
    title = f"{segmenter.card.name} on {data.benchmark.name}"
    with bar_of(title, job.n_before + len(job.left), job.n_before, is_visible=rank() == 0) as bar:
        records = job.run(bar.step)
    return BenchmarkReport(
        segmenter.card,
        segmenter.digest,
        rules.name,
        rules.miou or data.benchmark.miou,
        rule,
        refine,
        data.benchmark,
        data.split,
        len(data.images),
        total_counts(records, len(data.benchmark.classes)),
    )


def _print(reports: list[BenchmarkReport], options: EvalOptions) -> None:
    values = [report.to_json() for report in reports]
    figures = values if options.dataset == ALL else values[0]
    markdown = "\n".join(report.to_markdown() for report in reports)
    if options.dataset == ALL:
        markdown = f"{summary(reports)}\n{markdown}"
    write_json(options.json, figures)
    write_text(options.markdown, markdown)
    typer.echo(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    typer.echo(markdown, nl=False)


def run_paper(program: Program, options: EvalOptions) -> int:
    """Measure and print every line of the paper of which the data is there; returns 1 where there is none."""
    lines = lines_of(options.protocol)
    loaded = LoadedModel(program, program.model)
    results = [_measured(loaded, line, options) for line in lines]
    if rank() == 0:
        card = loaded.folder.card
        markdown = to_markdown(card, options.protocol, results)
        lines_json = [result.to_json() for result in results]
        write_json(options.json, {"model": card.name, "paper": options.protocol, "lines": lines_json})
        write_text(options.markdown, markdown)
        typer.echo(markdown, nl=False)
    return int(all(result.missing for result in results))


def _measured(loaded: LoadedModel, line: PaperLine, options: EvalOptions) -> PaperResult:
    try:
        if line.task == "semantic":
            line_options = options._replace(dataset=line.dataset, refine=line.refine)
            rules = protocol(options.protocol)
            (data,) = read_sets(rules, line_options)
            report = evaluate(loaded, rules, data, line_options)
            return PaperResult(line, {"miou": round(report.miou, 2)}, f"{report.images:,} of {report.official:,}")
        return _scenes(loaded, line, options)
    except DatasetError as error:
        return PaperResult(line, {}, missing=str(error))


def _scenes(loaded: LoadedModel, line: PaperLine, options: EvalOptions) -> PaperResult:
    assert line.task != "semantic"
    card = loaded.folder.card
    if scenes.ANSWERED_BY[line.task] not in card.tasks:
        return PaperResult(line, {}, missing=f"{card.name} does not answer the task {line.task}")
    grid = POINT_GRID if line.task == "point" else None
    line_options = options._replace(task=line.task, dataset=line.dataset, grid=grid)
    data = scenes.read_data(line_options)
    report = scenes.measure(loaded.with_card(card), data, line_options)
    scenes.warn(report.warnings)
    figures = {name: report.figures.whole.get(name) for name in line.measures}
    n_images, official = len(report.data.scenes), report.data.official
    return PaperResult(line, figures, f"{n_images:,}" if official is None else f"{n_images:,} of {official:,}")
