"""Image-text pairs in every layout; the colour of each photograph encodes its number."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image


def photograph(number: int, size: tuple[int, int] = (6, 4)) -> bytes:
    """A PNG of one colour: red is the number."""
    content = io.BytesIO()
    Image.new("RGB", size, (number, 0, 0)).save(content, "PNG")
    return content.getvalue()


def write_tar(path: Path, files: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def pair(number: int) -> dict[str, bytes]:
    """The three files that img2dataset writes of a pair."""
    key = f"{number:09}"
    caption = f"picture {number}"
    about = {"caption": caption, "url": "http://localhost/x.jpg", "key": key, "status": "success", "width": 6}
    return {f"{key}.json": json.dumps(about).encode(), f"{key}.png": photograph(number), f"{key}.txt": caption.encode()}


def write_shards(folder: Path, sizes: list[int]) -> list[Path]:
    """Shards 00000.tar and so on; pairs are numbered through."""
    paths, number = [], 0
    for index, size in enumerate(sizes):
        files: dict[str, bytes] = {}
        for _ in range(size):
            files |= pair(number)
            number += 1
        paths.append(folder / f"{index:05}.tar")
        write_tar(paths[-1], files)
    return paths
