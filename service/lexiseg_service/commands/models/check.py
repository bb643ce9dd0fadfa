"""`lexiseg models check`: does a model load here, answer as it did where its card was written, and how fast."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import typer
from numpy.typing import NDArray

from lexiseg_labels.masks import png
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.available import available
from lexiseg_model.types import Task
from lexiseg_service.commands.local import open_server
from lexiseg_service.settings import Settings

HEIGHT, WIDTH, RADIUS = 360, 480, 70  # of the picture and of the ball in it, in pixels
HORIZON, CENTRE = 190, (235, 250)  # row; (row, column) of the ball's centre
WORDS = ("sky", "grass", "ball")
TOLERANCE = 0.02  # of a share of the picture: devices and number types round differently
REPEATS = 5


def check(name: str, settings: Settings) -> int:
    """Serve the model in this process, compare its answer, measure it; print all three."""
    card = catalogue.find(name, settings.models_dir).card
    task: Task = "semantic" if "semantic" in card.tasks else "prompt"
    top, left = (side - RADIUS for side in CENTRE)
    box = [left, top, left + 2 * RADIUS, top + 2 * RADIUS]  # around the ball, for a model that takes only prompts
    question = {"classes": list(WORDS), "background": False} if task == "semantic" else {"prompts": [{"box": box}]}
    picture = png.encode(sample_picture())
    # Nothing is kept: each answer has an image pass of its own.
    own = settings.model_copy(update={"model": name, "feature_cache_bytes": 0})
    with open_server(None, own, task) as connection:
        typer.echo(f"{connection.name} is loaded")
        segments = connection.segment(picture, question).segments
        start = perf_counter()
        for _ in range(REPEATS):
            connection.segment(picture, question)
        rate = REPEATS / (perf_counter() - start)
    if task == "semantic":
        areas = dict.fromkeys(WORDS, 0) | {str(segment.label): segment.area for segment in segments}
    else:
        areas = {WORDS[-1]: max((segment.area for segment in segments), default=0)}
    entry, status = available().get(card.name), 0
    is_known = entry is not None and (card.weights_sha256 or "").startswith(entry.check_of or "none")
    reference = entry.check if entry is not None and is_known else {}
    for word, area in areas.items():
        share, verdict = area / (HEIGHT * WIDTH), "no known value"
        if word in reference:
            agrees = abs(share - reference[word]) <= TOLERANCE
            verdict = f"expected {reference[word]:.3f}: {'agrees' if agrees else 'DIFFERS'}"
            status = status if agrees else 1
        typer.echo(f"  {word}: {share:.3f} of the drawn picture ({verdict})")
    typer.echo(f"  {rate:.2f} pictures per second ({WIDTH} x {HEIGHT}, one at a time)")
    return status


def sample_picture() -> NDArray[np.uint8]:
    """A red ball on striped grass below a sky that fades, [360, 480, 3]."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    sky = np.stack([120 + rows * 0.4, 170 + rows * 0.3, np.full(rows.shape, 235.0)], 2)
    stripes = 12 * np.sin(columns * 0.9 + rows * 1.7)
    grass = np.stack([70 + stripes, 130 + stripes, 50 + stripes / 2], 2)
    picture = np.where((rows < HORIZON)[..., None], sky, grass)
    distance = np.hypot(rows - CENTRE[0], columns - CENTRE[1])
    shade = 215 - 0.9 * np.hypot(rows - CENTRE[0] + 25, columns - CENTRE[1] + 25)
    ball = np.stack([shade, 0.18 * shade, 0.16 * shade], 2)
    return np.where((distance < RADIUS)[..., None], ball, picture).clip(0, 255).astype(np.uint8)
