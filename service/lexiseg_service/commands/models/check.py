"""`lexiseg models check`: does a model load here, answer as it did where its card was written, and how fast."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import typer
from numpy.typing import NDArray

from lexiseg_model.available import available
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.tasks import Options, segment
from lexiseg_model.types import ClassEntry, ModelCard, Prompt, Vocabulary
from lexiseg_service.settings import Settings
from lexiseg_service.worker.models.served import load

HEIGHT, WIDTH, RADIUS = 360, 480, 70  # of the picture and of the ball in it, in pixels
HORIZON, CENTRE = 190, (235, 250)  # row; (row, column) of the ball's centre
WORDS = ("sky", "grass", "ball")
TOLERANCE = 0.02  # of a share of the picture: devices and number types round differently
REPEATS = 5


def check(name: str, settings: Settings) -> int:
    """Load, compare, measure; print all three.

    Returns:
        0, or 1 where the answer is not the known one.

    Raises:
        ModelError: the model cannot be loaded.
    """
    segmenter = load(name, settings)
    typer.echo(f"{segmenter.card.name}@{segmenter.card.version} loaded: {segmenter.nbytes / 1e6:,.0f} MB of weights")
    picture = drawn()
    measured = shares(segmenter, picture)
    known = known_shares(segmenter.card)
    status = 0
    for word, share in measured.items():
        verdict = "no known value"
        if word in known:
            agrees = abs(share - known[word]) <= TOLERANCE
            verdict = f"expected {known[word]:.3f}: {'agrees' if agrees else 'DIFFERS'}"
            status = status if agrees else 1
        typer.echo(f"  {word}: {share:.3f} of the drawn picture ({verdict})")
    typer.echo(
        f"  {pictures_per_second(segmenter, picture):.2f} pictures per second ({WIDTH} x {HEIGHT}, one at a time)"
    )
    return status


def known_shares(card: ModelCard) -> dict[str, float]:
    """Reference shares of the list of models for these weights; empty for other weights."""
    entry = available().get(card.name)
    if entry is None or entry.check_of is None or not (card.weights_sha256 or "").startswith(entry.check_of):
        return {}
    return entry.check


def drawn() -> NDArray[np.uint8]:
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


def shares(segmenter: Segmenter, picture: NDArray[np.uint8]) -> dict[str, float]:
    """The share of the picture that each word owns; of a model for prompts alone, that of a box around the ball."""
    plan = segmenter.plan(picture)
    features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
    if "semantic" in segmenter.card.tasks:
        vocabulary = Vocabulary(tuple(map(ClassEntry, WORDS)), background=None)
        answer = segment("semantic", segmenter, features, vocabulary)
        areas = {part.label: part.area for part in answer.segments}
        return {word: areas.get(word, 0) / picture[..., 0].size for word in WORDS}
    top, left = (side - RADIUS for side in CENTRE)
    box = Prompt(box=(left, top, left + 2.0 * RADIUS, top + 2.0 * RADIUS))
    answer = segment("prompt", segmenter, features, Vocabulary((), None), Options(prompts=(box,)))
    return {WORDS[-1]: max((part.area for part in answer.segments), default=0) / picture[..., 0].size}


def pictures_per_second(segmenter: Segmenter, picture: NDArray[np.uint8]) -> float:
    """Speed of whole answers, image pass included; the texts are already encoded."""
    shares(segmenter, picture)
    start = perf_counter()
    for _ in range(REPEATS):
        shares(segmenter, picture)
    return REPEATS / (perf_counter() - start)
