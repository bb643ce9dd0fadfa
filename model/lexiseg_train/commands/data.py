"""`lexiseg data ...`: check and prepare data for training."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lexiseg_model.command_line.bar import bar_of, echo
from lexiseg_model.command_line.options import Classes, Grouped, JsonReport, VocabularyName, output_folder, write_json
from lexiseg_model.errors import DatasetError
from lexiseg_model.types import DinoName
from lexiseg_train.commands import public_sets
from lexiseg_train.commands.program import Program

if TYPE_CHECKING:  # imported where they are used: the command line must start without them
    from lexiseg_train.data.preparing.checking import Checked

app = typer.Typer(
    help="Data for training: check it, pack it, name what it shows, let a model label it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.add_typer(public_sets.app)

Parsers = Literal["spacy", "plain"]


@app.command("check")
def check_data(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="A set with masks, a folder of sets, or pairs")],
    json: JsonReport = None,
    examples: Annotated[int, typer.Option(min=0, help="Files that are named of each kind")] = 3,
) -> None:
    """Report what is wrong with a set before hours are spent on it; the exit status is 1 if it cannot be used.

    A set with masks is SET/classes.json, SET/SPLIT/images and SET/SPLIT/masks. Pairs are tar shards, a folder with
    captions.json, a CSV or a JSON of COCO's captions. Every file is read.

    Examples:

      lexiseg data check /data/mine

      lexiseg data check /data/cc3m --json cc3m.json
    """
    if not source.exists():
        raise DatasetError(f"{source} does not exist")
    by_name = {str(path): _check(path) for path in _sets(source)}
    for name, checked_set in by_name.items():
        _print_problems(name, checked_set, examples)
    write_json(
        json,
        {
            name: {"photographs": each.photographs, "problems": [problem._asdict() for problem in each.problems]}
            for name, each in by_name.items()
        },
    )
    raise typer.Exit(int(any(each.errors for each in by_name.values())))


def _sets(source: Path) -> list[Path]:
    from lexiseg_train.data.pairs.files import LISTING
    from lexiseg_train.data.preparing.checking import is_masked

    if not source.is_dir() or is_masked(source):
        return [source]
    return [path for path in sorted(source.glob("*/")) if is_masked(path) or (path / LISTING).exists()] or [source]


def _check(path: Path) -> Checked:
    from lexiseg_train.data.pairs.files import open_pairs
    from lexiseg_train.data.preparing.checking import check_masks, check_pairs, is_masked

    with bar_of(str(path)) as bar:
        if path.is_dir() and is_masked(path):
            return check_masks(path, bar.step, bar.expect)
        return check_pairs(open_pairs(path), bar.step, bar.expect)


def _print_problems(name: str, checked_set: Checked, examples: int) -> None:
    from lexiseg_train.data.preparing.checking import ERRORS, WARNINGS

    counts = ", ".join(f"{split} {count:,}" for split, count in checked_set.photographs.items()) or "nothing"
    echo(f"{name}: {counts}")
    for kind, problems in checked_set.by_kind().items():
        meaning = ERRORS.get(kind) or WARNINGS[kind]
        echo(f"  {'error' if kind in ERRORS else 'look at'}: {kind} ({len(problems):,}): {meaning}")
        for problem in problems[:examples]:
            echo(f"    {problem.file}{': ' * bool(problem.detail)}{problem.detail}")
        if len(problems) > examples > 0:
            echo(f"    and {len(problems) - examples:,} more")
    if not checked_set.problems:
        echo("  nothing is wrong with it")


@app.command("pack")
def pack_data(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SRC... DST", help="Pairs, several for one; last, the folder of the shards")
    ],
    per_shard: Annotated[int, typer.Option(min=1, help="Pairs of one shard")] = 10_000,
    side: Annotated[
        int | None, typer.Option(min=16, help="Shrink photographs to a shorter side of so many pixels [default: no]")
    ] = None,
) -> None:
    """Pack photographs with captions into tar shards, in the layout of img2dataset and webdataset.

    SRC is a folder with captions.json, a CSV, a JSON of COCO's captions, or shards again. Every photograph is decoded;
    broken ones are left out and lie in DST/quarantine, each with its reason. Stopped and started again, it goes on.

    Examples:

      lexiseg data pack pairs.csv shards/

      lexiseg data pack annotations/captions_train2017.json /data/captions shards/ --side 512
    """
    from lexiseg_train.data.pairs.files import open_pairs
    from lexiseg_train.data.preparing.packing import QUARANTINE, pack_pairs

    if len(sources) < 2:
        raise typer.BadParameter("expected SRC and DST", param_hint="'SRC... DST'")
    target = sources.pop()
    pairs = open_pairs(*sources)
    with bar_of(str(target), sum(pairs.sizes)) as bar:
        origin = ", ".join(str(path.resolve()) for path in sources)
        packed = pack_pairs(pairs, origin, target, per_shard, side, bar.step)
    earlier = f", {packed.earlier:,} of the source's pairs were done before" * bool(packed.earlier)
    echo(f"{target}: pairs {packed.pairs:,}, shards {packed.shards:,}{earlier}")
    if packed.broken:
        echo(f"{len(packed.broken):,} are broken and lie in {target / QUARANTINE}, each with its reason; such as")
        for skipped in packed.broken[:3]:
            echo(f"  {skipped.name}: {skipped.reason}")


@app.command("pseudo-label", cls=Grouped)
def pseudo_label(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder of photographs, or one with images/")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="Folder of the set", callback=output_folder)],
    program: Annotated[Program, "eval"],
    classes: Classes = None,
    vocabulary: VocabularyName = None,
    listing: Annotated[Path | None, typer.Option("--classes", help="The classes.json of a set instead")] = None,
    background: Annotated[
        bool | None,
        typer.Option(help="Pixels where no class fits become 0, background [default: yes, or the list's own]"),
    ] = None,
    confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Pixels whose class has a lower probability become 255")
    ] = 0.0,
    split: Annotated[str, typer.Option(help="Folder in DST")] = "train",
    max_side: Annotated[int | None, typer.Option(min=32, help="Cap the network's input, in pixels")] = None,
) -> None:
    """Let a model write masks of photographs: DST/classes.json, DST/SPLIT/images and DST/SPLIT/masks, to train on.

    Photographs that have a mask are skipped, so a run that was stopped continues. Unreadable ones are listed
    in DST/SPLIT/skipped.jsonl.

    Examples:

      lexiseg data pseudo-label photos/ runs/labelled -c sky -c building --confidence 0.5

      lexiseg data pseudo-label --model tiny photos/ runs/labelled --classes data/camvid/classes.json
    """
    from lexiseg_model.vocabulary.class_names import BACKGROUND
    from lexiseg_train.data.indexed import photographs_in, read_classes

    if listing is not None and (classes or vocabulary):
        raise typer.BadParameter("expected no other classes beside it", param_hint="'--classes'")
    if listing is not None:
        names = read_classes(listing)
        background = BACKGROUND in names if background is None else background
        classes = [name for name in names if name != BACKGROUND]
    class_list = program.class_list(classes, vocabulary, background=background, others=", or --classes FILE")
    images = photographs_in(source)
    segmenter = program.load_for("semantic")
    from lexiseg_train.data.labelling.model_labels import Labelling, write_pseudo_labels  # imports torch

    labelling = Labelling(class_list, split, confidence, max_side)
    with bar_of(str(target), len(images)) as bar:
        labels = write_pseudo_labels(segmenter, images, target, labelling, bar.step)
    earlier = f", {labels.earlier:,} were there before" * bool(labels.earlier)
    echo(f"{target / split}: masks by {segmenter.card.name}: {labels.n_new:,}{earlier}")
    if labels.skips:
        echo(labels.skips.summary())


@app.command("entities")
def find_entities(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Pairs: shards, a folder with captions.json ...")],
    listing: Annotated[
        Path | None, typer.Argument(metavar="DST", help="The listing [default: entities.jsonl beside them]")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Of a vision-language model by OpenAI's protocol, up to /v1")
    ] = None,
    model: Annotated[str, typer.Option(help="What the endpoint calls the model")] = "default",
    key_file: Annotated[Path | None, typer.Option(help="File of the key that the endpoint asks for")] = None,
    parser: Annotated[Parsers, typer.Option(help="Of captions, without an endpoint")] = "spacy",
    workers: Annotated[int, typer.Option(min=1, help="Pairs under way at once")] = 1,
) -> None:
    """Find the entities that captions name, with their describing words: what Unpair-Seg's second stage learns from.

    With an endpoint, each photograph is sent with its captions, and the model describes it and lists what it named. A
    photograph leaves this machine only then. Without one the captions are parsed as they are. A listing that is there
    is gone on with.

    Examples:

      lexiseg data entities shards/ --endpoint http://localhost:8001/v1 --model llava --workers 8

      lexiseg data entities /data/captions --parser plain
    """
    from lexiseg_train.data.labelling.entities import LISTING, Endpoint, from_captions, phrases_by, write_entities
    from lexiseg_train.data.pairs.files import open_pairs

    if endpoint is None:
        describe = from_captions(phrases_by(parser))
    else:
        describe = Endpoint(endpoint, model, key_file.read_text().strip() if key_file else None).describe
    pairs = open_pairs(source)
    listing = listing or (source if source.is_dir() else source.parent) / LISTING
    with bar_of(str(listing), sum(pairs.sizes)) as bar:
        counts = write_entities(pairs, listing, describe, workers, bar.step)
    earlier = f", {counts.before:,} were there before" * bool(counts.before)
    echo(f"{listing}: pairs {counts.new:,}{earlier}")
    if counts.failed:
        echo(f"{counts.failed:,} failed and are asked again next time: {listing}.failed says why")


@app.command("import")
def import_data(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Folder, zip, tar or file of labels, in any known layout")
    ],
    target: Annotated[
        Path | None, typer.Argument(metavar="DST", help="Folder of the set that is written; none with --dry-run")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is found, and write nothing")] = False,
    root: Annotated[
        Path | None,
        typer.Option(help="A folder above SRC, inside which its files may name others [default: SRC itself]"),
    ] = None,
    least: Annotated[
        int | None,
        typer.Option(min=1, help="Photographs that it must have [default: 4, as tuning needs; a head learns from 1]"),
    ] = None,
    json: JsonReport = None,
) -> None:
    """Read a set as annotation tools export it, and write classes, images and masks: what tuning learns from.

    SRC is of COCO, YOLO, Labelme, CVAT, Label Studio or Datumaro, or has masks. The report says what it was read as,
    how many photographs and pixels each class has, and what is left out: where any photograph is marked as reviewed,
    all others. The exit status is 1 if it cannot be learned from.

    Examples:

      lexiseg data import project.zip --dry-run

      lexiseg data import project.zip sets/mine --json report.json
    """
    from lexiseg_train.data.own.prepare import MIN_PHOTOGRAPHS, prepare, require_enough, survey

    if (target is None) != dry_run:
        raise typer.BadParameter("expected a folder, or --dry-run without one", param_hint="'DST'")
    least = least or MIN_PHOTOGRAPHS
    with bar_of(str(source)) as bar:
        if target is None:
            report = survey(source, root, bar.step)
        else:
            report = prepare(source, target, None, root, bar.step, least)
    echo("\n".join(report.lines()))
    for warning in report.warnings:
        echo(f"warning: {warning}", err=True)
    write_json(json, asdict(report))
    require_enough(report, least)


@app.command("licences")
def list_licences(
    root: Annotated[Path, typer.Argument(metavar="SETS", help="Folder of sets")],
    listings: Annotated[
        list[Path],
        typer.Argument(
            metavar="LIST...", help="JSON files of COCO, of masks or captions; CSV files of Open Images' ids"
        ),
    ],
) -> None:
    """Write SETS/licences.csv: which photographs a company may train on, and whom to credit for them.

    `data.licence=fair` trains only on these. A photograph is known by its name without suffix. CC BY, CC BY-SA, CC0,
    public domain and "no known restrictions" count; terms without derivatives or commercial use do not.

    Examples:

      lexiseg data licences sets/ downloads/annotations/captions_train2017.json

      lexiseg data licences sets/ train-images-boxable-with-rotation.csv
    """
    from lexiseg_train.data.licences import FREE_TERMS, write_licences

    counts = write_licences(root, listings)
    echo(f"{root / FREE_TERMS}: photographs that may be used: {counts.free.total():,}")
    for licence, count in counts.free.most_common():
        echo(f"  {count:,}: {licence}")
    echo(f"left out: {counts.refused:,} by their licence, {counts.unknown:,} that no list names")


@app.command("oracle")
def measure_oracle(
    dataset: Annotated[str, typer.Argument(help="Folder of a set with masks, such as voc")],
    root: Annotated[Path, typer.Option(help="Folder that holds the data sets")],
    tower: Annotated[DinoName, typer.Option(help="Whose tokens are clustered; dino: of the shape in --weights")] = (
        "dino_vits8"
    ),
    weights: Annotated[
        Path | None, typer.Option(help="The tower's weights, timm's or the authors' file [default: hub]")
    ] = None,
    split: Annotated[str, typer.Option(help="Which split")] = "val",
    side: Annotated[int, typer.Option(min=16, help="Pixels of the square that a photograph is squeezed into")] = 448,
    masks: Annotated[int, typer.Option(min=1, max=255, help="Clusters of a photograph")] = 8,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first photographs")] = None,
    json: JsonReport = None,
) -> None:
    """Measure pseudo-masks: the mIoU that they reach when the truth names each, and k-means of colours to compare.

    S-Seg learns from such masks. Its paper prints 78.8 for DINO ViT-S/8 on VOC, and 49.5 for colours.

    Example:  lexiseg data oracle voc --root data/ --tower dino_vits8
    """
    from lexiseg_train.data.indexed import read_dataset

    labelled = read_dataset(root, dataset, split)
    labelled = replace(labelled, samples=labelled.samples[:limit])
    from lexiseg_model.clip.dino import DinoTower  # imports torch, as the next ones
    from lexiseg_train.methods.s_seg.trainer import colour_maker, mask_maker, oracle_miou
    from lexiseg_train.methods.s_seg.trainings import PseudoMaskSettings

    settings = PseudoMaskSettings(tower=tower, k=masks)
    maker = mask_maker(settings, weights)
    assert isinstance(maker.tower, DinoTower)
    patch = maker.tower.kind.patch
    side = side // patch * patch
    figures: dict[str, float] = {}
    for name, candidate in ((tower, maker), ("colours", colour_maker(settings, patch))):
        with bar_of(f"{name} on {dataset}", len(labelled.samples)) as bar:
            figures[name] = round(oracle_miou(candidate, labelled, side, bar.step), 2)
        echo(f"{dataset}/{split}, {len(labelled.samples):,} photographs, {name}: {figures[name]} % mIoU")
    write_json(json, {"dataset": dataset, "masks": masks, "miou": figures})
