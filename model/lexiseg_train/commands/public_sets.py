"""`lexiseg data prepare` and `fetch`: public sets in their official layouts become sets to train on.

download -> size and digest -> a process of its own in a sandbox: unpack, read, write the set
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from lexiseg_model.command_line.bar import bar_of, echo
from lexiseg_model.command_line.options import output_folder
from lexiseg_model.errors import DatasetError, ModelError
from lexiseg_model.files.sandbox import Limits, Sandbox, end_process

app = typer.Typer()

GIB = 2**30
DAY = 24 * 3600
# LVIS takes most: its JSON has 1.2 GB, and some ten times as much as objects.
LIMITS = Limits(seconds=DAY, cpu_seconds=DAY, memory_bytes=32 * GIB, file_bytes=16 * GIB)
SETS, DOWNLOADS = Path("sets"), "downloads"

WordsFile = Annotated[
    Path | None,
    typer.Option(
        "--words",
        exists=True,
        dir_okay=False,
        help="Your words, a line each, or YAML or JSON of each word's names in the set; all else is ignored",
    ),
]


@app.command("prepare")
def prepare_data(
    name: Annotated[
        str, typer.Argument(help="voc2012, pascal-context, ade20k, cityscapes, camvid, coco, coco-stuff, lvis ...")
    ],
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder with the official archives, or their content")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="Folder of sets", callback=output_folder)],
    own: Annotated[
        bool, typer.Option("--own-split", help="Only the validation photographs of our own figures, at their sizes")
    ] = False,
    words: WordsFile = None,
) -> None:
    """Lay out a public set that you have fetched: classes, images and masks of each split, to train and measure on.

    Archives are unpacked into DST/official, in the layout that `lexiseg eval benchmark` reads. Stopped and started
    again, it goes on.

    Examples:

      lexiseg data prepare voc2012 downloads/ sets/

      lexiseg data prepare coco downloads/ sets/ --own-split
    """
    from lexiseg_train.data.preparing.official import official_set, prepare, read_words

    vocabulary = read_words(words) if words is not None else None

    def unpacking(archive: object) -> None:
        echo(f"unpacking {archive} ...", err=True)

    with bar_of(name) as bar:
        prepared = prepare(official_set(name), source, target, own, unpacking, bar.expect, bar.step, vocabulary)
    counts = ", ".join(f"{split} {count:,}" for split, count in prepared.splits.items())
    echo(f"{prepared.folder}: {counts}")
    for split, reason in prepared.missing.items():
        echo(f"{split} is not whole: {reason}" if own else f"{split} is not there: {reason}", err=True)
    for skipped in prepared.skipped[:3]:
        echo(f"left out: {skipped.name}: {skipped.reason}", err=True)
    if len(prepared.skipped) > 3:
        echo(f"and {len(prepared.skipped) - 3:,} more", err=True)


@app.command("fetch")
def fetch_data(
    name: Annotated[str, typer.Argument(help="ade20k, coco-stuff, lvis or pascal-part")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="Folder of sets", callback=output_folder)] = SETS,
    words: WordsFile = None,
    mirror: Annotated[
        str | None, typer.Option(metavar="URL", help="A folder on the web with the archives under their names")
    ] = None,
) -> None:
    """Download a public set and lay it out, as `prepare` does, with its licence and the terms of its photographs.

    Archives are kept in DST/downloads. Stopped and started again, it goes on where it was. What was downloaded is read
    by a process that sees neither the network nor your other files.

    Examples:

      lexiseg data fetch ade20k --words words.txt

      lexiseg data fetch lvis /data/sets --words words.yaml
    """
    from lexiseg_train.data.preparing.downloads import download
    from lexiseg_train.data.preparing.official import choose, official_set, official_sets, read_words

    official = official_set(name)
    if not official.is_fetched:
        fetched = ", ".join(each for each, entry in official_sets().items() if entry.is_fetched)
        raise DatasetError(f"{name} is not fetched, but prepared from your downloads; fetched are {fetched}")
    choose(name, official.classes, read_words(words) if words else None)  # before hours of downloads
    for archive in official.archives:
        with bar_of(archive.names[0], archive.size) as bar:
            download(archive, target / DOWNLOADS, mirror, bar.step)
    read = [str(path.absolute()) for path in (target / DOWNLOADS, target)]
    words_option = ["--words", str(words.absolute())] if words else []
    status = _run_confined(target.absolute(), words, ["prepare", name, *read, *words_option])
    if status:
        raise typer.Exit(status)


def _run_confined(target: Path, words: Path | None, command: list[str]) -> int:
    """Exit status of a command of this module in a sandbox; it prints to standard error."""
    folders = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(target))
    room = Sandbox(target, [words.absolute()] if words else [], [target], LIMITS, folders)
    with os.fdopen(os.dup(2), "wb") as output:
        process = room.start([sys.executable, "-m", __name__, *command], output)
    try:
        return process.wait(LIMITS.seconds)
    finally:
        end_process(process)


def main() -> None:
    """Run a command; its errors are a line."""
    try:
        app()
    except (ModelError, OSError) as error:
        echo(f"lexiseg: {error}", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
