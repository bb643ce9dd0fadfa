"""The journal of a run: a JSON line for every so many steps and every validation, in `journal.jsonl` and at once seen.

On a terminal a bar with pace and time left stands below the lines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType

import cv2
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from lexiseg_model.training.checkpoints.checkpoint import write_whole
from lexiseg_model.training.journal.pace import Pace
from lexiseg_model.training.journal.trackers import Image, Tracking, numbers, tracker
from lexiseg_model.training.recipe import RunRecipe

JOURNAL, SAMPLES = "journal.jsonl", "samples"


class Journal:
    """Of one process of a run; silent on all ranks but 0."""

    def __init__(self, recipe: RunRecipe, speaks: bool) -> None:
        self._recipe = recipe
        self._speaks = speaks
        self._path = recipe.out / JOURNAL
        self._trackers: list[Tracking] = []
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[pace]}"),
            console=Console(stderr=True),
            auto_refresh=False,  # no thread of its own: workers are forked from this process
            disable=not (speaks and Console(stderr=True).is_terminal),
        )
        self._task = self._bar.add_task(recipe.out.name, total=1.0, pace="starting")

    def __enter__(self) -> Journal:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        for each in self._trackers:
            each.close()

    def go_on(self, step: int) -> None:
        """Begins; lines of steps that a kill undid are dropped.

        Raises:
            RecipeError: a tracker is not installed.
        """
        if not self._speaks:
            return
        if self._path.exists():
            lines = self._path.read_bytes().splitlines(True) if step else []
            kept = [line for line in lines if _step_of(line) <= step]
            write_whole(self._path, lambda fresh: fresh.write_bytes(b"".join(kept)))
        self._trackers = [tracker(name, self._recipe, step) for name in self._recipe.trackers]

    def say(self, text: str) -> None:
        """A line for whoever looks on."""
        if self._speaks:
            if self._bar.disable:
                print(text, flush=True)
            else:
                self._bar.console.print(text, markup=False, highlight=False)

    def entry(self, step: int, figures: Mapping[str, object], prefix: str = "") -> None:
        """A line of the journal, with `step` first; trackers get the numbers, `prefix` before their names."""
        if not self._speaks:
            return
        line = json.dumps({"step": step, **figures})
        with self._path.open("a") as lines:
            lines.write(f"{line}\n")
        self.say(line)
        for each in self._trackers:
            each.figures(step, {f"{prefix}{name}": value for name, value in numbers(figures).items()})

    def pictures(self, step: int, images: Mapping[str, Image]) -> None:
        """Writes RGB pictures [H, W, 3] to `samples/STEP-NAME.png`; without any there is no folder."""
        if not self._speaks or not images:
            return
        folder = self._recipe.out / SAMPLES
        folder.mkdir(exist_ok=True)
        for name, image in images.items():
            encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
            path = folder / f"{step:08}-{name}.png"
            path.write_bytes(encoded)
            for each in self._trackers:
                each.picture(step, name, image)

    def move(self, step: int, share: float, loss: float, pace: Pace) -> None:
        """The bar after a step."""
        if self._bar.disable:
            return
        left = pace.seconds_left
        words = f"step {step:,}  loss {loss:.4f}  {pace.examples_per_second:,.1f} examples/s  {_clock(left)} left"
        self._bar.update(self._task, completed=share, pace=words)
        self._bar.refresh()


def _step_of(line: bytes) -> int:
    """Of a line of the journal; of one that a kill cut in two, none that is kept."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 1 << 62


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
