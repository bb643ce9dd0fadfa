"""Read the training data of `tiny`, masks, boxes, captions and names, into packs without validation photographs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from lexiseg_model import catalogue
from lexiseg_model.data.indexed import IndexedDataset, read_dataset, read_photograph
from lexiseg_model.data.own.pictures import digest, held_out
from lexiseg_model.data.pairs.source import Skipped, Skips
from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_model.methods.tiny.training.boxes import pack_boxes
from lexiseg_model.methods.tiny.training.texts import TextBook
from lexiseg_model.methods.tiny.weights import FOLDER
from lexiseg_model.training.packs import Pack, Photograph, open_pack, write_pack


def packed(data: Path, packs: Path, name: str, book: TextBook) -> Pack:
    """The pack of one data set under `data`; made on first use.

    Args:
        data: folder of data sets.
        packs: where packs are kept.
        name: of the data set.
        book: the nouns that count in captions.
    """
    folder = packs / name
    if folder.exists():
        return open_pack(folder)
    print(f"{name} is decoded, once: kept in {folder}", flush=True)
    source, withheld = data / name, held_out(data)  # digests of photographs that must not be trained on
    if (source / "boxes.json").exists():
        listing = source / "captions.json"
        captioned = caption_concepts(listing, book) if listing.exists() else {}
        return pack_boxes(source, folder, catalogue.load_folder(FOLDER, "auto"), withheld, captioned)
    if (source / "labels.json").exists():
        return _pack_names(source, folder, name, withheld)
    dataset = read_dataset(data, name, "train")
    skips = Skips(packs / f"{name}.skipped.jsonl")
    pack = write_pack(folder, name, dataset.classes, _usable(dataset, withheld, skips))
    if skips:
        print(f"{name}: {skips.summary()}", flush=True)
    return pack


def _usable(dataset: IndexedDataset, withheld: frozenset[str], skips: Skips) -> Iterator[Photograph]:
    """The photographs whose masks can be trained on.

    Raises:
        DatasetError: there is none.
    """
    n_broken = 0
    for sample in dataset.samples:
        try:
            image, mask = sample.read(len(dataset.classes))
        except SampleError as error:
            n_broken += 1
            skips.add([Skipped(error.sample, error.reason)])
            continue
        if digest(sample.image) not in withheld:
            yield Photograph(sample.name, image, mask)
    if n_broken == len(dataset.samples):
        raise DatasetError(f"{dataset.name}: no photograph can be used; {skips.summary()}")


def _pack_names(source: Path, folder: Path, name: str, withheld: frozenset[str]) -> Pack:
    """Photographs that each show what `labels.json` names."""
    listing: dict[str, list[str]] = json.loads((source / "labels.json").read_text())
    path_of = {path.name: path for path in sorted(source.glob("**/*.jpg"))}

    def photographs() -> Iterator[Photograph]:
        for file, present in sorted(listing.items()):
            if digest(path_of[file]) not in withheld:
                yield Photograph(file, read_photograph(path_of[file]), None, tuple(present))

    names = tuple(sorted({entry for present in listing.values() for entry in present}))
    return write_pack(folder, name, (), photographs(), names)


def caption_concepts(listing: Path, book: TextBook) -> dict[str, tuple[str, ...]]:
    """Photograph's stem -> concepts of `book.nouns` that a caption of it names, by a synonym or in the plural too."""
    captions = json.loads(listing.read_text())
    patterns = {noun: _pattern([noun, *book.synonyms.get(noun, [])]) for noun in book.nouns}
    return {
        Path(name).stem: tuple(noun for noun in book.nouns if patterns[noun].search(" ; ".join(entry["captions"])))
        for name, entry in captions.items()
    }


def _pattern(words: list[str]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})(?:s|es)?\b", re.IGNORECASE)
