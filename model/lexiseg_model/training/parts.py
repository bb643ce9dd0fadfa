"""Training elsewhere: packs and checkpoints in parts small enough to be sent one by one.

A part of a pack is a zip file of photographs as JPEG and masks as PNG, with what is known of them; unpacked, parts are
packs again. Any other file is cut into numbered pieces and put together.

    python -m lexiseg_model.training.parts pack runs/packs sent        # sent/voc-000.zip, ...
    python -m lexiseg_model.training.parts unpack sent runs/packs
    python -m lexiseg_model.training.parts split runs/tiny/checkpoint.pt sent
    python -m lexiseg_model.training.parts join sent runs/tiny
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

import cv2
import numpy as np

from lexiseg_model.errors import DatasetError
from lexiseg_model.training.packs import INDEX, Pack, Photograph, open_pack, write_pack

PART_BYTES = 60 << 20  # of a pack's part, at most
PIECE_BYTES = 16 << 20  # of any other file's
QUALITY = 95  # of a photograph's JPEG
ABOUT, KNOWN = "about.json", "known.json"  # of the set; of the photographs in one part


def send_pack(pack: Pack, folder: Path, limit: int = PART_BYTES) -> list[Path]:
    """Writes `folder/NAME-000.zip` and so on, none larger than `limit` bytes; returns them in order."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {"name": pack.name, "classes": pack.classes, "names": pack.names, "complete": pack.complete}
    overhead = len(json.dumps(about)) + 1024
    parts: list[Path] = []
    waiting: list[tuple[int, list[tuple[str, bytes]]]] = []
    size = overhead
    for index in range(len(pack)):
        files = _encoded(pack, index)
        # A zip file names each of its files twice, in about 200 bytes; what is known stands beside.
        needed = sum(len(content) + 200 for _, content in files) + len(json.dumps(pack.present[index])) + 100
        if waiting and size + needed > limit:
            parts.append(_write_part(pack, folder, len(parts), about, waiting))
            waiting, size = [], overhead
        waiting.append((index, files))
        size += needed
    parts.append(_write_part(pack, folder, len(parts), about, waiting))
    return parts


def receive_packs(folder: Path, packs: Path) -> list[Pack]:
    """Unpacks every pack whose parts lie in `folder`, those that are there already left as they are.

    Raises:
        DatasetError: a part is missing.
    """
    names = sorted({path.stem.rpartition("-")[0] for path in folder.glob("*-[0-9][0-9][0-9].zip")})
    return [
        open_pack(packs / name) if (packs / name / INDEX).exists() else _received(folder, name, packs / name)
        for name in names
    ]


def split(path: Path, folder: Path, limit: int = PIECE_BYTES) -> list[Path]:
    """Writes `folder/NAME.000` and so on, and `folder/NAME.sha256`."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    pieces: list[Path] = []
    with path.open("rb") as source:
        while piece := source.read(limit):
            digest.update(piece)
            pieces.append(folder / f"{path.name}.{len(pieces):03}")
            pieces[-1].write_bytes(piece)
    (folder / f"{path.name}.sha256").write_text(digest.hexdigest())
    return pieces


def join(folder: Path, target: Path) -> list[Path]:
    """Puts every file together whose pieces lie in `folder`.

    Raises:
        DatasetError: a piece is missing or damaged.
    """
    target.mkdir(parents=True, exist_ok=True)
    whole = []
    for told in sorted(folder.glob("*.sha256")):
        path = target / told.stem
        fresh = path.with_name(f"{path.name}.new")
        with fresh.open("wb") as joined:
            for piece in sorted(folder.glob(f"{told.stem}.[0-9][0-9][0-9]")):
                joined.write(piece.read_bytes())
        with fresh.open("rb") as joined:
            found = hashlib.file_digest(joined, "sha256").hexdigest()
        if found != told.read_text().strip():
            fresh.unlink()
            raise DatasetError(f"{path.name}: the pieces in {folder} are not all of it, or damaged")
        whole.append(fresh.replace(path))
    return whole


def _encoded(pack: Pack, index: int) -> list[tuple[str, bytes]]:
    image = cv2.cvtColor(pack.image(index), cv2.COLOR_RGB2BGR)
    files = [(f"{index:06}.jpg", cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())]
    if pack.places[index, 3]:
        files.append((f"{index:06}.png", cv2.imencode(".png", pack.mask(index))[1].tobytes()))
    return files


def _write_part(
    pack: Pack, folder: Path, number: int, about: dict[str, object], entries: list[tuple[int, list[tuple[str, bytes]]]]
) -> Path:
    path = folder / f"{pack.name}-{number:03}.zip"
    known = {f"{index:06}": [pack.photographs[index], pack.present[index]] for index, _ in entries}
    last = bool(entries) and entries[-1][0] == len(pack) - 1
    with ZipFile(path, "w", ZIP_STORED) as part:
        part.writestr(ABOUT, json.dumps(about | {"last": last}))
        part.writestr(KNOWN, json.dumps(known))
        for _, files in entries:
            for name, content in files:
                part.writestr(name, content)
    return path


def _received(folder: Path, name: str, target: Path) -> Pack:
    parts = sorted(folder.glob(f"{name}-[0-9][0-9][0-9].zip"))
    about: dict[str, object] = {}
    for number, path in enumerate(parts):
        with ZipFile(path) as part:
            about = json.loads(part.read(ABOUT))
        if path.name != f"{name}-{number:03}.zip":
            raise DatasetError(f"{folder}: part {name}-{number:03}.zip is missing")
    if not about.get("last"):
        raise DatasetError(f"{folder}: part {name}-{len(parts):03}.zip is missing")
    classes, names = (tuple(map(str, value)) for value in (about["classes"], about["names"]) if isinstance(value, list))
    return write_pack(target, name, classes, _decoded(parts), names, bool(about["complete"]))


def _decoded(parts: list[Path]) -> Iterator[Photograph]:
    for path in parts:
        with ZipFile(path) as part:
            stored = set(part.namelist())
            for stem, (label, present) in json.loads(part.read(KNOWN)).items():
                image = cv2.imdecode(np.frombuffer(part.read(f"{stem}.jpg"), np.uint8), cv2.IMREAD_COLOR)
                mask = None
                if f"{stem}.png" in stored:
                    mask = cv2.imdecode(np.frombuffer(part.read(f"{stem}.png"), np.uint8), cv2.IMREAD_UNCHANGED)
                if image is None:
                    raise DatasetError(f"{path}: {stem}.jpg is no photograph")
                rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8)
                yield Photograph(label, rgb, None if mask is None else mask.astype(np.uint8), tuple(present))


def main(command: str, source: Path, target: Path) -> None:
    """One of `pack`, `unpack`, `split` and `join`; text rows go with the packs."""
    if command == "pack":
        for folder in sorted(path.parent for path in source.glob(f"*/{INDEX}")):
            print(*send_pack(open_pack(folder), target), sep="\n", flush=True)
        for rows in source.glob("texts-*.npz"):
            shutil.copy(rows, target)
    elif command == "unpack":
        target.mkdir(parents=True, exist_ok=True)
        for pack in receive_packs(source, target):
            print(f"{pack.name}: {len(pack)} photographs", flush=True)
        for rows in source.glob("texts-*.npz"):
            shutil.copy(rows, target)
    elif command == "split":
        print(*split(source, target), sep="\n")
    elif command == "join":
        print(*join(source, target), sep="\n")
    else:
        sys.exit(f"no command {command!r}; there is: pack, unpack, split, join")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("python -m lexiseg_model.training.parts pack|unpack|split|join SOURCE TARGET")
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
