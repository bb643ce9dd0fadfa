"""Writes the pictures that the bundled model paints; `docs/write_playground.py` writes that of the page.

- china.png: what the README's first command writes.
- example.png: a box that makes a class, beside what the class finds.
- limits.png: what the model does well beside what it does not.

`python docs/write_pictures.py`. The photographs come with scikit-learn and scikit-image; NOTICE names their authors and
licences.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from lexiseg_model import tasks
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.masks.overlay import paint
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Prompt, Segmentation, Vocabulary
from lexiseg_service.image.samples import photograph

PICTURES = Path(__file__).with_name("pictures")
COLOURS = 192
COLUMNS, WIDTH, HEIGHT, GAP, LINE = 4, 300, 240, 10, 16
BOX = (60, 120, 350, 390)
EXAMPLE = f"our tower=china.jpg@{','.join(map(str, BOX))}"


class Case(NamedTuple):
    """A photograph and what it is asked: classes, or a box."""

    photo: str
    asked: str
    classes: tuple[str, ...] = ()
    box: tuple[float, float, float, float] | None = None


CASES = (
    Case("china", "sky, building, trees", ("sky", "building", "trees")),
    Case("coffee", "a box around the cup", box=(170, 10, 450, 300)),
    Case("chelsea", "cat", ("cat",)),
    Case("astronaut", "person", ("person",)),
    Case("coffee", "cup, saucer, table", ("cup", "saucer", "table")),
    Case("coffee", "spoon", ("spoon",)),
    Case("rocket", "rocket, tower", ("rocket", "tower")),
    Case("astronaut", "helmet, flag, person", ("helmet", "flag", "person")),
)


def answered(segmenter: Segmenter, rgb: NDArray[np.uint8], case: Case) -> Segmentation:
    """As `lexiseg segment` answers."""
    plan = segmenter.plan(rgb)
    features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
    vocabulary = Vocabulary(tuple(ClassEntry(name) for name in case.classes), Background())
    options = tasks.Options(prompts=(Prompt(box=case.box),)) if case.box else tasks.Options()
    return tasks.segment("prompt" if case.box else "semantic", segmenter, features, vocabulary, options)


def read(name: str) -> NDArray[np.uint8]:
    """A photograph, [H, W, 3] RGB."""
    if name in ("china", "flower"):
        return np.asarray(Image.open(io.BytesIO(photograph(f"{name}.jpg"))).convert("RGB"))
    return np.asarray(getattr(data, name)()[..., :3])


def tile(segmenter: Segmenter, case: Case) -> Image.Image:
    """The answer painted onto the photograph, what was asked below it."""
    rgb = read(case.photo)
    answer = answered(segmenter, rgb, case)
    painted = paint(rgb, answer.label_map, answer.segments)
    if case.box is not None:
        left, top, right, bottom = (round(side) for side in case.box)
        painted = cv2.rectangle(painted.copy(), (left, top), (right, bottom), (255, 255, 255), 2).astype(np.uint8)
    small = Image.fromarray(painted)
    small.thumbnail((WIDTH, HEIGHT))
    made = Image.new("RGB", (WIDTH, HEIGHT + LINE), "white")
    made.paste(small, ((WIDTH - small.width) // 2, (HEIGHT - small.height) // 2))
    ImageDraw.Draw(made).text((4, HEIGHT + 2), case.asked, fill="black", font=ImageFont.load_default(12))
    return made


def limits(segmenter: Segmenter) -> Image.Image:
    """All cases, side by side."""
    rows = -(-len(CASES) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (WIDTH + GAP) - GAP, rows * (HEIGHT + LINE + GAP) - GAP), "white")
    for number, case in enumerate(CASES):
        row, column = divmod(number, COLUMNS)
        sheet.paste(tile(segmenter, case), (column * (WIDTH + GAP), row * (HEIGHT + LINE + GAP)))
    return sheet


def written(*asked: str) -> Image.Image:
    """What `lexiseg segment china.jpg` writes."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "china.jpg").write_bytes(photograph("china.jpg"))
        command = [
            sys.executable,
            "-m",
            "lexiseg_service.cli",
            "segment",
            "china.jpg",
            *asked,
            "--quiet",
            "--out",
            "out",
        ]
        subprocess.run(command, cwd=here, check=True)
        return Image.open(here / "out/china.png").convert("RGB")


def example() -> Image.Image:
    """The photograph with the box that shows the class, beside what the class finds in it."""
    shown, found = Image.open(io.BytesIO(photograph("china.jpg"))).convert("RGB"), written("--example", EXAMPLE)
    for colour, width in (("black", 7), ("white", 3)):
        ImageDraw.Draw(shown).rectangle(BOX, outline=colour, width=width)
    sheet = Image.new("RGB", (shown.width + GAP + found.width, shown.height), "white")
    sheet.paste(shown, (0, 0))
    sheet.paste(found, (shown.width + GAP, 0))
    return sheet


def main(folder: Path = PICTURES) -> None:
    made = {
        "china": written("-c", "sky", "-c", "building", "-c", "trees"),
        "example": example(),
        "limits": limits(catalogue.load("tiny")),
    }
    for name, picture in made.items():
        picture.quantize(COLOURS).save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
