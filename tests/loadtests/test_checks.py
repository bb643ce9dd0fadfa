"""Right answers pass, wrong ones are named."""

import dataclasses
import json
from typing import Any, cast

import pytest

from lexiseg_client import Segment, Segmentation
from lexiseg_labels.answers import CacheUse, Timings
from lexiseg_labels.segments import RunLengths
from loadtests.chaos import __main__ as chaos
from loadtests.chaos.deployment import Level
from loadtests.chaos.honest import Honest
from loadtests.chaos.judge import Judge
from loadtests.chaos.reference import Shown, read_reference
from loadtests.checks import fault_of, fault_of_prompts
from loadtests.plain_client import GONE, Response

CLASSES = ["sky", "tree"]
SKY = Segment(1, "sky", 0, 0.9, 8, (0, 0, 2, 4), RunLengths((4, 4), "088"))  # the left half of 4 x 4
TREE = Segment(2, "tree", 1, 0.8, 8, (2, 0, 2, 4), RunLengths((4, 4), "88"))  # the right half


def answer(*segments: Segment) -> Segmentation:
    times, cache = Timings(1, 0, 0, 2, 3, 6), CacheUse(0, 2, False)
    return Segmentation("", "tiny", "", "semantic", (4, 4), "", segments, timings_ms=times, cache=cache)


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"class_index": 2}, "class_index 2"), ({"class_index": None}, "class_index None"),
        ({"label": "tree"}, "label 'tree'"), ({"score": 1.5}, "score"), ({"area": 7}, "area 7"),
        ({"bbox": (0, 0, 1, 4)}, "box"), ({"shape": RunLengths((2, 8), "088")}, "a mask of"),
    ],
)  # fmt: skip
def test_a_wrong_segment_is_named(wrong: dict[str, object], fault: str) -> None:
    segment = dataclasses.replace(SKY, **wrong)  # type: ignore[arg-type]

    assert fault in (fault_of(answer(segment), CLASSES, covers=False) or "")


def test_two_classes_of_one_pixel_are_a_fault() -> None:
    double = dataclasses.replace(SKY, id=2, label="tree", class_index=1)

    assert fault_of(answer(SKY, double), CLASSES, covers=False) == "8 pixels have two classes"


def test_a_pixel_without_a_class_is_a_fault_where_all_must_have_one() -> None:
    assert fault_of(answer(SKY), CLASSES, covers=True) == "8 pixels have no class"


BEST = dataclasses.replace(SKY, label=None, class_index=None, prompt_index=0, mask_index=0, quality=0.9)
OTHER = dataclasses.replace(BEST, id=2, mask_index=1, quality=0.5)
SECOND = dataclasses.replace(BEST, id=3, prompt_index=1)


def test_a_right_answer_has_no_fault() -> None:
    for segments in ((SKY,), ()):
        assert fault_of(answer(*segments), CLASSES, covers=False) is None
    assert fault_of(answer(SKY, TREE), CLASSES, covers=True) is None
    assert fault_of_prompts(answer(BEST), 1) is None
    assert fault_of_prompts(answer(BEST, OTHER, SECOND), 2) is None


@pytest.mark.parametrize(
    ("segments", "fault"),
    [
        ((BEST, OTHER), "for 2 prompts"),
        ((OTHER, BEST, SECOND), "masks [(0, 1), (0, 0), (1, 0)]"),
        ((SECOND, BEST), "masks [(1, 0), (0, 0)]"),
        ((BEST, dataclasses.replace(SECOND, label="sky")), "label 'sky'"),
        ((BEST, dataclasses.replace(SECOND, quality=None)), "quality None"),
        ((BEST, dataclasses.replace(SECOND, area=3)), "area 3"),
        ((BEST, dataclasses.replace(OTHER, quality=0.95), SECOND), "not best first"),
    ],
)
def test_a_wrong_answer_to_prompts_is_named(segments: tuple[Segment, ...], fault: str) -> None:
    assert fault in (fault_of_prompts(answer(*segments), 2) or "")


KNOWN = {"segments": [1, 2]}


def body(**content: Any) -> bytes:
    return json.dumps(content).encode()


def judged(status: int, content: bytes, **options: Any) -> tuple[dict[str, int], list[str]]:
    judge = Judge()
    judge.rest("x", Response(status, content), KNOWN, **options)
    return dict(judge.counts["x"]), judge.surprises


def test_the_known_answer_is_right_whatever_the_occasion_and_errors_are_counted_by_type() -> None:
    assert judged(200, body(segments=[1, 2], id="a", timings_ms={"total": 3}, cache={})) == ({"right": 1}, [])
    assert judged(429, body(type="queue-full")) == ({"queue-full": 1}, [])


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, body(segments=[1])),
        (GONE, b""),
        (500, b"Internal Server Error"),
        (503, b"<html>"),
        (500, body(type="internal")),
        (429, body(type="not-ready")),  # another status than the type has
        (422, body(type="invalid-value")),  # nothing that the question calls for
        (429, b"[]"),
    ],
)
def test_anything_else_should_not_have_come(status: int, content: bytes) -> None:
    counts, surprises = judged(status, content)

    assert counts == {"surprise": 1}
    assert len(surprises) == 1


def test_what_does_not_come_back_is_named() -> None:
    before = {"gateway": Level(20, 100 << 20, 0.0), "worker": Level(20, 700 << 20, 0.0)}

    assert chaos.beyond(before, {"gateway": Level(25, 110 << 20, 0.0), "worker": Level(20, 1000 << 20, 300e6)}) == []
    wrong = chaos.beyond(before, {"gateway": Level(60, 110 << 20, 0.0), "worker": Level(20, 1000 << 20, 0.0)})
    assert [line.partition(":")[0] for line in wrong] == ["gateway", "worker"]


class Learned:
    """Stands for the clients after their first questions."""

    def __init__(self, answers: dict[str, Shown]) -> None:
        self._answers = answers

    async def learn(self) -> dict[str, Shown]:
        return self._answers


def without(values: dict[str, Any], label: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != label}


async def test_an_answer_that_differs_from_the_stored_one_is_named_before_any_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = read_reference()
    monkeypatch.setattr(chaos, "read_reference", lambda: stored)  # which takes a second
    scores, masks = stored["small"]
    sky = masks["sky"].copy()
    sky.flat[: sky.size // 500] ^= True
    wrong = {
        "pixels": Shown(scores, {**masks, "sky": sky}),
        "score": Shown({**scores, "sky": scores["sky"] + 0.02}, masks),
        "absent": Shown(without(scores, "sky"), without(masks, "sky")),
    }

    await chaos.check(cast(Honest, Learned(stored)))
    for different in wrong.values():
        with pytest.raises(RuntimeError, match=r"without any fault:\nsmall: sky .* the stored [^\n]*$"):
            await chaos.check(cast(Honest, Learned({**stored, "small": different})))
