"""What a model takes here, tried before it is served; by a clock that the model itself moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import OptionError
from lexiseg_model.features import Features, TileFeatures
from lexiseg_model.segmenter import PromptMasks, TextBank, TextRows
from lexiseg_model.types import ClassEntry, Prompt, Task
from lexiseg_service.errors import NotReady, TooLarge
from lexiseg_service.worker.costs.costs import WHOLE, Costs
from lexiseg_service.worker.costs.size import IMAGE, Size
from lexiseg_service.worker.costs.speed import ORDINARY, Speed
from lexiseg_service.worker.costs.trial import Trial, try_out
from tests.model.stand_in import ColourSegmenter

WORDS = (ClassEntry("red"), ClassEntry("green"))


class Slow(ColourSegmenter):
    """Time passes in a pass, when words are scored, in the tower, for each click and more for a box; nowhere else."""

    def __init__(
        self,
        image: float = 0.0,
        finish: float = 0.0,
        chunk: float = 0.0,
        click: float = 0.0,
        box: float = 0.0,
        shared: float = 0.0,
        word: float = 0.0,
        tasks: tuple[Task, ...] = ("semantic", "prompt"),
    ) -> None:
        super().__init__(tasks=tasks)
        self.now = 0.0
        self._box, self._shared, self._word = box, shared, word
        self._image, self._finish, self._chunk, self._click = image, finish, chunk, click

    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        self.now += self._image
        return super().encode_tiles(tiles)

    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        self.now += self._finish
        return super().class_scores(features, bank)

    def encode_texts(self, texts: list[str]) -> NDArray[np.float16]:
        self.now += self._chunk
        return super().encode_texts(texts)

    def text_bank(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> TextBank:
        self.now += self._word * len(classes)
        return super().text_bank(classes, rows)

    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        self.now += (
            self._shared + self._click * len(prompts) + self._box * sum(prompt.box is not None for prompt in prompts)
        )
        return super().prompt(features, prompts)


def at_once(work: Callable[[], object]) -> Future[None]:
    done: Future[None] = Future()
    work()
    done.set_result(None)
    return done


def trial_of(model: Slow, on_device: Callable[[Callable[[], object]], Future[None]] = at_once) -> Trial:
    rows = ColourSegmenter().encode_texts
    return Trial(model, on_device, WORDS, rows, lambda: model.now)


def test_a_pass_is_as_slow_as_it_was() -> None:
    assert trial_of(Slow(image=0.3)).speed().image == pytest.approx(300 / IMAGE)


def test_it_is_tried_whatever_others_may_send(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXISEG_MAX_IMAGE_BYTES", "512")
    monkeypatch.setenv("LEXISEG_MAX_PIXELS", "1024")
    monkeypatch.setenv("LEXISEG_MIN_SIDE", "900")

    assert trial_of(Slow(image=0.3)).speed().image == pytest.approx(300 / IMAGE)


def test_a_slower_finish_is_as_much_slower() -> None:
    slow, slower = (trial_of(Slow(finish=seconds)).speed().finish for seconds in (0.1, 0.2))

    assert slower == pytest.approx(2 * slow)


def test_a_click_takes_what_it_took_of_several() -> None:
    assert trial_of(Slow(click=0.02)).speed().prompt == pytest.approx(20.0)


def test_what_clicks_share_is_apart_from_each() -> None:
    speed = trial_of(Slow(click=0.02, shared=0.1)).speed()

    assert [speed.shared, speed.prompt] == pytest.approx([100.0, 20.0])


def test_a_word_takes_what_many_take_beyond_few() -> None:
    assert trial_of(Slow(word=1e-3)).speed().word == pytest.approx(1.0, rel=0.1)


def test_a_small_box_takes_what_it_took_beyond_a_click() -> None:
    speed = trial_of(Slow(click=0.02, box=0.05)).speed()

    assert speed.prompt == pytest.approx(20.0)
    assert speed.look == pytest.approx(50.0)


def test_when_patience_is_over_the_rest_is_ordinary() -> None:
    speed = trial_of(Slow(image=5.0)).speed()

    assert speed.image == pytest.approx(5000 / IMAGE)
    assert (speed.prompt, speed.look) == (ORDINARY.prompt, ORDINARY.look)
    assert speed.extra == ORDINARY.extra


def test_what_takes_long_is_tried_once() -> None:
    model = Slow(image=5.0)

    trial_of(model).speed()

    assert model.now == 5.0


def test_what_was_tried_is_expected() -> None:
    model, costs = Slow(image=0.3, chunk=0.64, tasks=("semantic", "prompt", "everything")), Costs()

    try_out(trial_of(model), costs)

    speed = costs.speed_of(model.digest)
    assert Size(image=IMAGE, speed=speed).seconds == pytest.approx(0.3)
    assert costs.reading(Size(texts=WHOLE)) == pytest.approx(0.64)
    assert 0 < costs.least(WHOLE) < 0.64


@pytest.mark.parametrize("error", [OptionError("no"), TooLarge("no")], ids=["model", "service"])
def test_a_model_that_cannot_be_tried_is_ordinary(error: Exception) -> None:
    def fail(work: Callable[[], object]) -> Future[None]:
        raise error

    model, costs = Slow(), Costs()

    try_out(trial_of(model, fail), costs)

    assert costs.speed_of(model.digest) == Speed()


def test_a_worker_that_goes_down_tries_nothing() -> None:
    def fail(work: Callable[[], object]) -> Future[None]:
        raise NotReady("the worker is going down")

    with pytest.raises(NotReady):
        try_out(trial_of(Slow(), fail), Costs())
