"""Pairs by what lies at a path."""

from __future__ import annotations

from pathlib import Path

from lexiseg_model.data.pairs.files import LISTING, read_caption_folder, read_caption_table, read_coco_captions
from lexiseg_model.data.pairs.shards import ShardPairs
from lexiseg_model.data.pairs.source import Joined, PairSource
from lexiseg_model.errors import DatasetError

EXPECTED = (
    "a folder of .tar shards as img2dataset writes them, a folder with captions.json and images/, "
    "a .csv or .tsv of image and caption, or a captions_*.json of COCO"
)


def open_pairs(*paths: Path) -> PairSource:
    """Lists the pairs at one path, or at several as one.

    Raises:
        DatasetError: a path does not exist, holds nothing of what is expected, or a listing that cannot be read.
    """
    if not paths:
        raise DatasetError(f"no path to pairs; expected {EXPECTED}")
    sources = tuple(_open(path) for path in paths)
    return sources[0] if len(sources) == 1 else Joined(sources)


def _open(path: Path) -> PairSource:
    if not path.exists():
        raise DatasetError(f"{path} does not exist; expected {EXPECTED}")
    if path.is_dir():
        if (path / LISTING).exists():
            return read_caption_folder(path)
        if shards := sorted(path.glob("*.tar")):
            return ShardPairs(shards)
    elif path.suffix == ".tar":
        return ShardPairs([path])
    elif path.suffix in (".csv", ".tsv"):
        return read_caption_table(path)
    elif path.suffix == ".json":
        return read_coco_captions(path)
    raise DatasetError(f"{path} holds no pairs; expected {EXPECTED}")
