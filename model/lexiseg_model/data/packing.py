"""Packs pairs into tar shards for `lexiseg_model.data.pairs.shards` and webdataset.

    SHARD.tar                   NAME.jpg, NAME.txt, NAME.json of each pair; it appears when it is complete
    quarantine/SHARD.jsonl      broken pairs with the reason; quarantine/SHARD/ has their photographs
    pack.json                   source and options: others are refused

Shard k holds the pairs k * n to (k + 1) * n of the source without the broken ones, so a killed run resumes with the
first missing shard and ends with the same bytes.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from lexiseg_model.data.pairs.source import PairSource, Skipped, StoredPair, decode
from lexiseg_model.data.read_ahead import read_ahead
from lexiseg_model.errors import SampleError
from lexiseg_model.files import claim, replace_file

ABOUT, QUARANTINE = "pack.json", "quarantine"
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
JPEG_QUALITY = 95  # of shrunk photographs
AHEAD = 64  # pairs submitted to the threads at once


class Entry(NamedTuple):
    """A photograph to write: suffix, bytes and size in pixels."""

    suffix: str
    photograph: bytes
    width: int
    height: int


@dataclass(frozen=True)
class PackOptions:
    """Pairs per shard; `side` limits the shorter side of photographs, None keeps every byte."""

    per_shard: int = 10_000
    side: int | None = None


@dataclass
class Packed:
    """Written shards and pairs, pairs of an earlier run, and broken ones."""

    shards: int = 0
    pairs: int = 0
    earlier: int = 0
    broken: list[Skipped] = field(default_factory=list)


def pack_pairs(
    source: PairSource,
    origin: str,
    target: Path,
    options: PackOptions,
    on_pairs: Callable[[int], object] = lambda _: None,
) -> Packed:
    """Write the missing shards.

    Args:
        source: the pairs.
        origin: their name, to recognise them.
        target: folder of the shards.
        options: of the shards.
        on_pairs: called repeatedly with the number of further pairs.

    Raises:
        DatasetError: the folder holds other shards.
    """
    total = sum(source.sizes)
    about = {"source": origin, "pairs": total, "per_shard": options.per_shard, "side": options.side}
    claim(target / ABOUT, about, "shards", any(target.glob("*.tar")))
    (target / QUARANTINE).mkdir(exist_ok=True)
    packed = Packed(broken=list(source.damaged))
    for shard, first in enumerate(range(0, total, options.per_shard)):
        pairs = range(first, min(first + options.per_shard, total))
        path = target / f"{shard:05}.tar"
        lines = target / QUARANTINE / f"{shard:05}.jsonl"
        if path.exists():
            broken = [Skipped(**json.loads(line)) for line in lines.read_text().splitlines()]
            packed.earlier += len(pairs)
            on_pairs(len(pairs))
        else:
            broken = _write_shard(source, path, lines, pairs, options.side, on_pairs)
        packed.shards += 1
        packed.pairs += len(pairs) - len(broken)
        packed.broken += broken
    return packed


def _write_shard(
    source: PairSource,
    path: Path,
    lines: Path,
    pairs: range,
    side: int | None,
    on_pairs: Callable[[int], object],
) -> list[Skipped]:
    """Write one shard atomically; returns its broken pairs."""
    fresh, beside = path.with_name(f".{path.name}"), lines.with_suffix("")
    shutil.rmtree(beside, ignore_errors=True)  # of a run that was killed
    broken: list[Skipped] = []
    with tarfile.open(fresh, "w", format=tarfile.GNU_FORMAT) as archive:
        for number, (pair, entry) in zip(pairs, _read(source, pairs, side), strict=True):
            key = f"{number:09}"
            if isinstance(entry, Skipped):
                broken.append(entry)
                if pair is not None:
                    beside.mkdir(exist_ok=True)
                    (beside / f"{key}{Path(pair.name).suffix[:8]}").write_bytes(pair.photograph)
            elif pair is not None:
                for suffix, content in _files(key, pair, entry):
                    _add(archive, f"{key}{suffix}", content)
            done = number - pairs.start
            if done % AHEAD == AHEAD - 1 or number == pairs[-1]:
                on_pairs(done % AHEAD + 1)
    replace_file(lines, "".join(json.dumps(skipped._asdict()) + "\n" for skipped in broken).encode())
    os.replace(fresh, path)
    return broken


def _read(source: PairSource, pairs: range, side: int | None) -> Iterator[tuple[StoredPair | None, Entry | Skipped]]:
    def look(index: int) -> tuple[StoredPair | None, Entry | Skipped]:
        pair = None
        try:
            pair = source.read(index)
            return pair, _entry(pair, side)
        except SampleError as error:
            return pair, Skipped(error.sample, error.reason)

    return (result for _, result in read_ahead(pairs, look, AHEAD))


def _entry(pair: StoredPair, side: int | None) -> Entry:
    """The file unchanged, or a shrunk upright JPEG.

    Raises:
        SampleError: it cannot be decoded.
    """
    image = decode(pair)
    with Image.open(io.BytesIO(pair.photograph)) as picture:
        suffix = SUFFIXES.get(picture.format or "")
    height, width = image.shape[:2]
    shrink = 1.0 if side is None else min(1.0, side / min(height, width))
    if suffix is not None and shrink == 1.0:
        return Entry(suffix, pair.photograph, width, height)
    smaller = Image.fromarray(image)
    if shrink < 1.0:
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        smaller = smaller.resize(size, Image.Resampling.LANCZOS)
    content = io.BytesIO()
    smaller.save(content, "JPEG", quality=JPEG_QUALITY)
    return Entry(".jpg", content.getvalue(), smaller.width, smaller.height)


def _files(key: str, pair: StoredPair, entry: Entry) -> Iterator[tuple[str, bytes]]:
    about = {
        "key": key,
        "name": pair.name,
        "caption": pair.captions[0],
        "captions": pair.captions,
        "width": entry.width,
        "height": entry.height,
        "status": "success",
    }
    yield entry.suffix, entry.photograph
    yield ".txt", pair.captions[0].encode()
    yield ".json", json.dumps(about).encode()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)  # without time and owner: reproducible
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
