"""`lexiseg data ...`: check and prepare data for training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lexiseg_model.types import DinoName
from lexiseg_service.commands.options import Chosen, Classes, Grouped, JsonReport, VocabularyName, takes_settings
from lexiseg_service.commands.outputs import output_folder

data = typer.Typer(
    help="Data for training: check it, pack it, name what it shows, let a model label it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Parsers = Literal["spacy", "plain"]


@data.command("check")
def check_data(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="A set with masks, a folder of sets, or pairs")],
    json: JsonReport = None,
    examples: Annotated[int, typer.Option(min=0, help="Files that are named of each kind")] = 3,
) -> None:
    """Report what is wrong with a set before hours are spent on it; the exit status is 1 if it cannot be used.

    A set with masks is SET/classes.json, SET/SPLIT/images and SET/SPLIT/masks. Pairs are tar shards, a folder with
    captions.json, a CSV or a JSON of COCO's captions; SA-1B and a JSON of COCO's instances will do as well. Every file
    is read.

    Examples:

      lexiseg data check /data/mine

      lexiseg data check /data/cc3m --json cc3m.json
    """
    from lexiseg_service.commands.data.runs import check

    raise typer.Exit(check(source, json, examples))


@data.command("pack")
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
    from lexiseg_service.commands.data import runs

    if len(sources) < 2:
        raise typer.BadParameter("expected SRC and DST", param_hint="'SRC... DST'")
    runs.pack(sources[:-1], sources[-1], per_shard, side)


@data.command("pseudo-label", cls=Grouped)
@takes_settings("eval")
def pseudo_label(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder of photographs, or one with images/")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="Folder of the set", callback=output_folder)],
    chosen: Chosen,
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

    Photographs that have a mask are skipped, so a run that was stopped continues. Those that cannot be read are listed
    in DST/SPLIT/skipped.jsonl.

    Examples:

      lexiseg data pseudo-label photos/ runs/labelled -c sky -c building --confidence 0.5

      lexiseg data pseudo-label --model tiny photos/ runs/labelled --classes ../shared/data/camvid/classes.json
    """
    from lexiseg_service.commands.data import runs
    from lexiseg_service.commands.question import Question, check_classes

    check_classes(classes or (), vocabulary, needed=listing is None, others=", or --classes FILE")
    if listing is not None and (classes or vocabulary):
        raise typer.BadParameter("expected no other classes beside it", param_hint="'--classes'")
    question = (
        runs.question_of_set(listing, background)
        if listing is not None
        else Question(tuple(classes or ()), vocabulary, background)
    )
    runs.pseudo_label(source, target, question, split, confidence, max_side, chosen.settings)


@data.command("entities")
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
    from lexiseg_service.commands.data import runs

    key = key_file.read_text().strip() if key_file else None
    runs.find_entities(source, listing, (endpoint, model, key) if endpoint else None, parser, workers)


@data.command("prepare")
def prepare_data(
    name: Annotated[
        str, typer.Argument(help="voc2012, pascal-context, ade20k, cityscapes, camvid, coco, coco-stuff ...")
    ],
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder with the official archives, or their content")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="Folder of sets", callback=output_folder)],
    own: Annotated[
        bool, typer.Option("--own-split", help="Only the validation photographs of our own figures, at their sizes")
    ] = False,
) -> None:
    """Lay out a public set that you have fetched: classes, images and masks of each split, to train and measure on.

    Archives are unpacked into DST/official, in the layout that `lexiseg eval --protocol` reads. Stopped and started
    again, it goes on.

    Examples:

      lexiseg data prepare voc2012 downloads/ sets/

      lexiseg data prepare coco downloads/ sets/ --own-split
    """
    from lexiseg_service.commands.data import runs

    runs.prepare_set(name, source, target, own)


@data.command("oracle")
def measure_oracle(
    dataset: Annotated[str, typer.Argument(help="Folder of a set with masks, such as voc")],
    root: Annotated[Path, typer.Option(help="Folder that holds the data sets")],
    tower: Annotated[DinoName, typer.Option(help="Whose tokens are clustered; dino: of the shape in --weights")] = (
        "dino_vits8"
    ),
    weights: Annotated[
        Path | None,
        typer.Option(help="The tower's weights, such as a run of `lexiseg train dino` writes [default: hub]"),
    ] = None,
    split: Annotated[str, typer.Option(help="Which split")] = "val",
    side: Annotated[int, typer.Option(min=16, help="Pixels of the square that a photograph is squeezed into")] = 448,
    masks: Annotated[int, typer.Option(min=1, max=255, help="Clusters of a photograph")] = 8,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first photographs")] = None,
    json: JsonReport = None,
) -> None:
    """Measure pseudo-masks: the mIoU that they reach when the truth names each, k-means of colours beside it.

    S-Seg learns from such masks. Its paper prints 78.8 for DINO ViT-S/8 on VOC, and 49.5 for colours.

    Example:  lexiseg data oracle voc --root data/ --tower dino_vits8
    """
    from lexiseg_service.commands.data import runs

    runs.measure_oracle(dataset, root, split, limit, json, tower=tower, weights=weights, side=side, masks=masks)
