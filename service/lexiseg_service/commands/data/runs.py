"""`lexiseg data check`, `pack`, `entities`, `prepare`, `oracle` and `pseudo-label`: the work, and what they print."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import typer

from lexiseg_model.data import entities
from lexiseg_model.data.checking import ERRORS, WARNINGS, Checked, check_masks, check_outlines, check_pairs, is_masked
from lexiseg_model.data.entities import SPACY_MODEL, Endpoint, Parser, from_captions, phrases_by, write_entities
from lexiseg_model.data.indexed import BACKGROUND, read_classes, read_dataset
from lexiseg_model.data.outlines import CocoInstances, OutlineSource, Sa1b
from lexiseg_model.data.packing import QUARANTINE, PackOptions, pack_pairs
from lexiseg_model.data.pairs.files import LISTING, open_pairs
from lexiseg_model.data.preparing.official import official_set
from lexiseg_model.data.preparing.prepare import prepare
from lexiseg_model.errors import DatasetError
from lexiseg_model.types import DinoName
from lexiseg_service.commands.bar import bar_of
from lexiseg_service.commands.in_process import check_model, load, resolved
from lexiseg_service.commands.outputs import write_json
from lexiseg_service.commands.question import Question
from lexiseg_service.settings import Settings


def check(source: Path, report: Path | None, examples: int) -> int:
    """Check one set, or each set of a folder, and print the problems; return 1 if one has errors, else 0."""
    if not source.exists():
        raise DatasetError(f"{source} does not exist")
    by_name = {str(path): _check(path) for path in _sets(source)}
    for name, checked_set in by_name.items():
        _print_problems(name, checked_set, examples)
    figures = {
        name: {
            "photographs": checked_set.photographs,
            "problems": [problem._asdict() for problem in checked_set.problems],
        }
        for name, checked_set in by_name.items()
    }
    write_json(report, figures)
    return int(any(checked_set.errors for checked_set in by_name.values()))


def _sets(source: Path) -> list[Path]:
    """The folder itself, or the sets in it."""
    if not source.is_dir() or is_masked(source):
        return [source]
    return [path for path in sorted(source.glob("*/")) if is_masked(path) or (path / LISTING).exists()] or [source]


def _check(path: Path) -> Checked:
    with bar_of(str(path)) as bar:
        if path.is_dir() and is_masked(path):
            return check_masks(path, bar.step, bar.expect)
        if outlines := _outline_source(path):
            return check_outlines(outlines, bar.step, bar.expect)
        return check_pairs(open_pairs(path), bar.step, bar.expect)


def _outline_source(path: Path) -> OutlineSource | None:
    """The path as COCO instances or SA-1B; None if it is neither."""
    if path.is_dir() and ((path / LISTING).exists() or any(path.glob("*.tar"))):
        return None
    try:
        return Sa1b(path) if path.is_dir() else CocoInstances(path) if path.suffix == ".json" else None
    except DatasetError:
        return None


def _print_problems(name: str, checked_set: Checked, examples: int) -> None:
    counts = ", ".join(f"{split} {count:,}" for split, count in checked_set.photographs.items()) or "nothing"
    typer.echo(f"{name}: {counts}")
    for kind, count in checked_set.counts():
        meaning = ERRORS.get(kind) or WARNINGS[kind]
        typer.echo(f"  {'error' if kind in ERRORS else 'look at'}: {kind}, {count:,} times: {meaning}")
        for problem in checked_set.examples(kind, examples):
            typer.echo(f"    {problem.file}{': ' * bool(problem.detail)}{problem.detail}")
        if count > examples > 0:
            typer.echo(f"    and {count - examples:,} more")
    if not checked_set.problems:
        typer.echo("  nothing is wrong with it")


def pack(sources: list[Path], target: Path, per_shard: int, side: int | None) -> None:
    """Write shards of pairs, and print counts and the first broken pairs."""
    pairs = open_pairs(*sources)
    with bar_of(str(target), sum(pairs.sizes)) as bar:
        origin = ", ".join(str(path.resolve()) for path in sources)
        packed = pack_pairs(pairs, origin, target, PackOptions(per_shard, side), bar.step)
    earlier = f", {packed.earlier:,} of the source's pairs were done before" * bool(packed.earlier)
    typer.echo(f"{target}: {packed.pairs:,} pairs in {packed.shards:,} shards{earlier}")
    if packed.broken:
        typer.echo(f"{len(packed.broken):,} are broken and lie in {target / QUARANTINE}, each with its reason; such as")
        for skipped in packed.broken[:3]:
            typer.echo(f"  {skipped.name}: {skipped.reason}")


def find_entities(
    source: Path, listing: Path | None, endpoint: tuple[str, str, str | None] | None, parser: Parser, workers: int
) -> None:
    """Write the listing, by default beside the pairs; `endpoint` is the URL, model and key of a vision model."""
    pairs = open_pairs(source)
    listing = listing or (source if source.is_dir() else source.parent) / entities.LISTING
    describe = from_captions(phrases_by(parser, SPACY_MODEL)) if endpoint is None else Endpoint(*endpoint).describe
    with bar_of(str(listing), sum(pairs.sizes)) as bar:
        written = write_entities(pairs, listing, describe, workers, bar.step)
    earlier = f", {written.before:,} were there before" * bool(written.before)
    typer.echo(f"{listing}: {written.new:,} pairs{earlier}")
    if written.failed:
        typer.echo(f"{written.failed:,} failed and are asked again next time: {listing}.failed says why")


def prepare_set(name: str, source: Path, target: Path, own: bool) -> None:
    """Write a public set as an indexed data set, and print the photographs per split and the missing splits."""
    total = 0
    with bar_of(name) as bar:

        def expect(count: int) -> None:
            nonlocal total
            total += count
            bar.expect(total)

        prepared = prepare(
            official_set(name),
            source,
            target,
            own,
            lambda archive: typer.echo(f"unpacking {archive} ...", err=True),
            expect,
            bar.step,
        )
    counts = ", ".join(f"{split} {count:,}" for split, count in prepared.splits.items())
    typer.echo(f"{prepared.folder}: {counts}")
    for split, reason in prepared.missing.items():
        typer.echo(f"{split} is not whole: {reason}" if own else f"{split} is not there: {reason}", err=True)
    for skipped in prepared.skipped[:3]:
        typer.echo(f"left out: {skipped.name}: {skipped.reason}", err=True)
    if len(prepared.skipped) > 3:
        typer.echo(f"and {len(prepared.skipped) - 3:,} more", err=True)


def question_of_set(listing: Path, background: bool | None) -> Question:
    """A question with the classes of a classes.json; `background` None: whether the list has `background`."""
    names = read_classes(listing)
    named = tuple(name for name in names if name != BACKGROUND)
    return Question(named, None, BACKGROUND in names if background is None else background)


def pseudo_label(
    source: Path,
    target: Path,
    question: Question,
    split: str,
    confidence: float,
    max_side: int | None,
    settings: Settings,
) -> None:
    """Write a pseudo-label mask for every photograph, and print the unreadable ones.

    Raises:
        ServiceError: the classes or a value are not as expected.
        ModelError: the model cannot be loaded, or a folder is not as expected.
    """
    vocabulary = resolved(question.validated(), settings)
    check_model(settings, "semantic")
    from lexiseg_model.data.indexed import photographs_in
    from lexiseg_model.data.preparing.pseudo_labels import Labelling, write_pseudo_labels

    images = photographs_in(source)
    labelling = Labelling(vocabulary, split, confidence, max_side)
    segmenter = load(settings, "semantic")
    with bar_of(str(target), len(images)) as bar:
        done = write_pseudo_labels(segmenter, images, target, labelling, bar.step)
    earlier = f", {done.earlier:,} were there before" * bool(done.earlier)
    typer.echo(f"{target / split}: {done.written:,} masks by {segmenter.card.name}{earlier}")
    if done.skips:
        typer.echo(done.skips.summary())


def measure_oracle(
    dataset: str,
    root: Path,
    split: str,
    limit: int | None,
    report: Path | None,
    *,
    tower: DinoName,
    weights: Path | None,
    side: int,
    masks: int,
) -> None:
    """Print the oracle mIoU of a tower's pseudo-masks, and of pseudo-masks from colours alone, in percent.

    Raises:
        DatasetError: the data set is missing.
        WeightsError: the tower's weights are missing, or belong to another tower.
    """
    data = read_dataset(root, dataset, split)
    data = replace(data, samples=data.samples[:limit])
    from lexiseg_model.clip.dino import DinoTower
    from lexiseg_model.methods.s_seg.training.oracle import colour_maker, oracle_miou
    from lexiseg_model.methods.s_seg.training.pseudo_masks import PseudoMaskSettings, mask_maker

    settings = PseudoMaskSettings(tower=tower, k=masks)
    maker = mask_maker(settings, weights)
    assert isinstance(maker.tower, DinoTower)
    patch = maker.tower.kind.patch
    side = side // patch * patch
    figures: dict[str, float] = {}
    for name, candidate in ((tower, maker), ("colours", colour_maker(settings, patch))):
        with bar_of(f"{name} on {dataset}", len(data.samples)) as bar:
            figures[name] = round(oracle_miou(candidate, data, side, bar.step), 2)
        typer.echo(f"{dataset}/{split}, {len(data.samples):,} photographs, {name}: {figures[name]} % mIoU")
    write_json(report, {"dataset": dataset, "masks": masks, "miou": figures})
