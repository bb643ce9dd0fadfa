"""Packs pairs into tar shards for `lexiseg_train.data.pairs.shards` and webdataset.

    SHARD.tar                   NAME.jpg, NAME.txt, NAME.json of each pair; it appears when it is complete
    quarantine/SHARD.jsonl      broken pairs with the reason; quarantine/SHARD/ has their photographs
    pack.json                   source and options: others are refused

Shard k holds the pairs k * n to (k + 1) * n of the source without the broken ones, so a killed run resumes with the
first missing shard and ends with the same bytes.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from lexiseg_labels.exports import write_whole
from lexiseg_labels.picture_names import suffix_of_format
from lexiseg_model.errors import SampleError
from lexiseg_model.files.archives import add_file
from lexiseg_model.pictures.header import sniff
from lexiseg_train.data.files.runs import claim, read_ahead
from lexiseg_train.data.indexed import to_jpeg
from lexiseg_train.data.pairs.source import PairSource, Skipped, StoredPair, decode

ABOUT, QUARANTINE = "pack.json", "quarantine"
RECODED = ("HEIF", "AVIF")  # few readers of webdataset decode them
AHEAD = 64  # pairs submitted to the threads at once


@dataclass
class Packed:
    shards: int = 0
    pairs: int = 0
    earlier: int = 0
    broken: list[Skipped] = field(default_factory=list)


def pack_pairs(
    source: PairSource,
    origin: str,
    target: Path,
    per_shard: int = 10_000,
    side: int | None = None,
    on_pairs: Callable[[int], object] = lambda _: None,
) -> Packed:
    """Write the missing shards of `per_shard` pairs each; a `side` limits the shorter side of photographs."""
    total = sum(source.sizes)
    about = {"source": origin, "pairs": total, "per_shard": per_shard, "side": side}
    claim(target / ABOUT, about, "shards", any(target.glob("*.tar")))
    (target / QUARANTINE).mkdir(exist_ok=True)
    packed = Packed(broken=list(source.damaged))
    for shard, first in enumerate(range(0, total, per_shard)):
        pairs = range(first, min(first + per_shard, total))
        path = target / f"{shard:05}.tar"
        lines = target / QUARANTINE / f"{shard:05}.jsonl"
        if path.exists():
            broken = [Skipped(**json.loads(line)) for line in lines.read_text().splitlines()]
            packed.earlier += len(pairs)
            on_pairs(len(pairs))
        else:
            broken = _write_shard(source, path, lines, pairs, side, on_pairs)
        packed.shards += 1
        packed.pairs += len(pairs) - len(broken)
        packed.broken += broken
    return packed


def _write_shard(
    source: PairSource, path: Path, lines: Path, pairs: range, side: int | None, on_pairs: Callable[[int], object]
) -> list[Skipped]:
    fresh, beside = path.with_name(f".{path.name}"), lines.with_suffix("")
    shutil.rmtree(beside, ignore_errors=True)  # of a run that was killed
    broken: list[Skipped] = []

    def read(number: int) -> tuple[StoredPair | None, dict[str, bytes] | Skipped]:
        pair = None
        try:
            pair = source.read(number)
            return pair, _files(f"{number:09}", pair, side)
        except SampleError as error:
            return pair, Skipped(error.sample, error.reason)

    with tarfile.open(fresh, "w", format=tarfile.GNU_FORMAT) as archive:
        for number, (pair, files) in read_ahead(pairs, read, AHEAD):
            if not isinstance(files, Skipped):
                for name, content in files.items():
                    add_file(archive, name, content)
            else:
                broken.append(files)
                if pair is not None:
                    beside.mkdir(exist_ok=True)
                    (beside / f"{number:09}{Path(pair.name).suffix[:8]}").write_bytes(pair.photograph)
            index = number - pairs.start
            if index % AHEAD == AHEAD - 1 or number == pairs[-1]:
                on_pairs(index % AHEAD + 1)
    write_whole(lines, "".join(json.dumps(skipped._asdict()) + "\n" for skipped in broken).encode())
    os.replace(fresh, path)
    return broken


def _files(key: str, pair: StoredPair, side: int | None) -> dict[str, bytes]:
    """The files of a pair by name: its photograph unchanged, or as a shrunk upright JPEG; its caption, and JSON."""
    image = Image.fromarray(decode(pair))
    content = pair.photograph
    kind = sniff(content)
    suffix = suffix_of_format(kind)
    shrink = 1.0 if side is None else min(1.0, side / min(image.size))
    if kind in RECODED or shrink < 1.0:
        if shrink < 1.0:
            width, height = (max(1, round(each * shrink)) for each in image.size)
            image = image.resize((width, height), Image.Resampling.LANCZOS)
        suffix, content = ".jpg", to_jpeg(np.asarray(image))
    about = {
        "key": key,
        "name": pair.name,
        "caption": pair.captions[0],
        "captions": pair.captions,
        "width": image.width,
        "height": image.height,
        "status": "success",
    }
    texts = {f"{key}.txt": pair.captions[0].encode(), f"{key}.json": json.dumps(about).encode()}
    return {f"{key}{suffix}": content, **texts}
