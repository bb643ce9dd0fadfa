"""Pair sources by path or address: tar shards, or photographs listed in captions.json, a CSV or COCO's JSON."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_model.files.names import COLUMNS_OF_FILES, is_hidden, visible_in
from lexiseg_train.data.annotations.listed import photographs_beside
from lexiseg_train.data.files.documents import PUBLISHED_JSON, read_json
from lexiseg_train.data.pairs.shards import ShardPairs, find_shards, is_address
from lexiseg_train.data.pairs.source import Joined, PairSource, StoredPair, clean_captions

LISTING = "captions.json"
IMAGES = "images"
COLUMNS_OF_WORDS = ("caption", "text", "title")
EXPECTED = (
    "a folder of .tar shards as img2dataset writes them, a folder with captions.json and images/, "
    "a .csv or .tsv of image and caption, or a captions_*.json of COCO"
)


Captioned = tuple[Path, Sequence[str]]  # a photograph's file and its captions


class FilePairs(PairSource):
    def __init__(self, listing: Path, pairs: Sequence[Captioned]) -> None:
        if not pairs:
            raise DatasetError(f"{listing} has no captions")
        self._pairs = pairs
        self.sizes = [len(pairs)]

    def read(self, index: int) -> StoredPair:
        image, listed = self._pairs[index]
        captions = clean_captions(listed)
        if not captions:
            raise SampleError(str(image), "has no caption")
        try:
            return StoredPair(str(image), image.read_bytes(), captions)
        except OSError as error:
            raise SampleError(str(image), f"cannot be read: {error.strerror}") from None


def read_caption_folder(folder: Path) -> FilePairs:
    """`captions.json`, {STEM: {"captions": [...]}} or {STEM: [...]}, and `images/STEM.jpg`; errors as `open_pairs`."""
    listing = folder / LISTING
    content = read_json(listing, PUBLISHED_JSON)
    if not isinstance(content, dict):
        raise DatasetError(f'{listing}: expected {{"STEM": {{"captions": ["...", ...]}}, ...}}')
    files = {path.stem: path for path in sorted((folder / IMAGES).glob("*")) if not is_hidden(path.name)}
    pairs = []
    for stem, entry in content.items():
        captions = entry.get("captions") if isinstance(entry, dict) else entry
        if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
            raise DatasetError(f"{listing}, {stem!r}: expected a list of captions, got {captions!r:.80}")
        pairs.append((files.get(stem, folder / IMAGES / f"{stem}.jpg"), captions))
    return FilePairs(listing, pairs)


def read_caption_table(listing: Path) -> FilePairs:
    """A CSV or TSV with a header; paths are relative to its folder, rows of one photograph are joined."""
    captions: dict[str, list[str]] = {}
    try:
        with listing.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as content:
            tabs = "\t" in content.readline()
            content.seek(0)
            rows = csv.DictReader(content, delimiter="\t" if tabs else ",")
            names = {name.strip().lower(): name for name in rows.fieldnames or ()}
            file = next((names[name] for name in COLUMNS_OF_FILES if name in names), None)
            words = next((names[name] for name in COLUMNS_OF_WORDS if name in names), None)
            if file is None or words is None:
                raise DatasetError(
                    f"{listing} has the columns {list(rows.fieldnames or ())}; expected one of "
                    f"{', '.join(COLUMNS_OF_FILES)} and one of {', '.join(COLUMNS_OF_WORDS)}"
                )
            for row in rows:
                captions.setdefault(row[file] or "", []).append(row[words] or "")
    except csv.Error as error:
        raise DatasetError(f"{listing} is not a table: {error}") from None
    return FilePairs(listing, [(listing.parent / name, each) for name, each in captions.items()])


def read_coco_captions(listing: Path) -> FilePairs:
    """COCO's `annotations/captions_train2017.json`; photographs are in `train2017` or the listing's folder."""
    content = read_json(listing, PUBLISHED_JSON)
    try:
        captions: dict[int, list[str]] = {}
        for entry in content["annotations"]:
            captions.setdefault(entry["image_id"], []).append(entry["caption"])
        files = {entry["id"]: str(entry["file_name"]) for entry in content["images"]}
    except (KeyError, TypeError) as error:
        raise DatasetError(f"{listing} is not a file of COCO's captions: {error!r}") from None
    folder = photographs_beside(listing)
    return FilePairs(listing, [(folder / files[key], captions[key]) for key in sorted(files) if key in captions])


def open_pairs(*paths: Path | str, json_captions: bool = False) -> PairSource:
    """List the pairs at one path or address, or at several as one source; `json_captions` as of `ShardPairs`."""
    if not paths:
        raise DatasetError(f"no path to pairs; expected {EXPECTED}")
    sources = tuple(_open_one(path, json_captions) for path in paths)
    return sources[0] if len(sources) == 1 else Joined(sources)


def _open_one(place: Path | str, json_captions: bool) -> PairSource:
    if is_address(place):
        return ShardPairs(find_shards(str(place)), json_captions)
    path = Path(place)
    if not path.exists():
        raise DatasetError(f"{path} does not exist; expected {EXPECTED}")
    if path.is_dir():
        if (path / LISTING).exists():
            return read_caption_folder(path)
        if shards := [file for file in visible_in(path) if file.suffix == ".tar"]:
            return ShardPairs(shards, json_captions)
    elif path.suffix == ".tar":
        return ShardPairs([path], json_captions)
    elif path.suffix in (".csv", ".tsv"):
        return read_caption_table(path)
    elif path.suffix == ".json":
        return read_coco_captions(path)
    raise DatasetError(f"{path} holds no pairs; expected {EXPECTED}")
