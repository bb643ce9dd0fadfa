"""`lexiseg calibrate`: score thresholds of classes from their segments, with or without true masks, and the report.

With masks of the truth: the threshold under which the class's pixels overlap the truth's best, over all photographs
(IoU of the sums). A segment that is dropped takes its pixels out of the union and leaves the truth's. The effect is
measured by leave-one-out: each photograph with the threshold that all others give.

Without masks: where scores fall into two groups that are clearly apart, the middle of the gap between them (Otsu's
choice). That the lower group is wrong is a guess, which the report shows.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_client import Segmentation
from lexiseg_client.question import background_json
from lexiseg_model.command_line.options import write_text
from lexiseg_model.errors import OptionError
from lexiseg_train.commands.program import Photograph, Photographs, Server
from lexiseg_train.evaluation.counts import count

DECIMALS = 4  # of a score in an answer
MIN_PHOTOGRAPHS = 2  # that show a class or where it is found, with masks
MIN_SEGMENTS = 8  # of a class, without masks
APART = 0.85  # share of the scores' variance that two groups must explain; an even spread gives 0.75
MARGIN = 0.01  # above the highest wrong score, where nothing is right
PICTURES = 2  # of the report, on either side of a threshold
MAX_SIDE = 420  # pixels of a picture
QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 82]
PAGE = Path(__file__).with_name("report.html.j2")
IGNORED = 255  # in an 8-bit mask: counts for nothing


@dataclass(frozen=True)
class Finding:
    """A class in one photograph; `score` is None if it has no segment, pixel counts are None without true masks."""

    image: str
    score: float | None
    intersection: int | None = None
    predicted: int = 0  # pixels of the segment
    true: int | None = None  # pixels of the true mask


@dataclass(frozen=True)
class Choice:
    """A class's threshold, None where there is no reason for one, and its effect."""

    threshold: float | None
    reason: str
    before: float | None = None  # IoU over all photographs, without a threshold
    after: float | None = None  # the same with it, each photograph by the threshold of all others

    def __str__(self) -> str:
        threshold = "-" if self.threshold is None else f"{self.threshold:.3f}"
        measured = self.before is not None and self.after is not None
        gain = f", IoU {self.before:.3f} -> {self.after:.3f} (leave-one-out)" if measured else ""
        return f"{threshold}{gain} ({self.reason})"


def choose(findings: Sequence[Finding]) -> Choice:
    if findings and all(finding.true is not None for finding in findings):
        return _by_truth(findings)
    return _by_groups(sorted(finding.score for finding in findings if finding.score is not None))


def iou(findings: Sequence[Finding], thresholds: Sequence[float]) -> float | None:
    """IoU (0 to 1) over all photographs without segments below each one's threshold; None if there are no pixels."""
    placed = zip(findings, thresholds, strict=True)
    accepted = [finding for finding, least in placed if finding.score is not None and finding.score >= least]
    intersection = sum(finding.intersection or 0 for finding in accepted)
    predicted, true = sum(finding.predicted for finding in accepted), sum(finding.true or 0 for finding in findings)
    union = predicted + true - intersection
    return intersection / union if union else None


def _by_truth(findings: Sequence[Finding]) -> Choice:
    """The threshold of all photographs; its effect on each by the threshold of all others (leave-one-out)."""
    before = iou(findings, [0.0] * len(findings))
    judged = [finding for finding in findings if finding.score is not None or finding.true]
    if not _count(findings):
        return Choice(None, "found nowhere", before, before)
    if len(judged) < MIN_PHOTOGRAPHS:
        return Choice(None, f"in one photograph; {MIN_PHOTOGRAPHS} or more are needed", before, before)
    best = _best_threshold(judged)
    if not any(finding.true for finding in judged):
        reason = f"in none of the photographs, though found in {_count(judged)}"
        return Choice(round(best, DECIMALS), reason, before)
    if best == 0.0:
        return Choice(None, "no threshold does better", before, before)
    dropped = [finding for finding in judged if finding.score is not None and finding.score < best]
    others = [_best_threshold([*judged[:place], *judged[place + 1 :]]) for place in range(len(judged))]
    reason = f"drops {len(dropped)} of {_count(judged)} segments"
    return Choice(round(best, DECIMALS), reason, before, iou(judged, others))


def _best_threshold(findings: Sequence[Finding]) -> float:
    """The threshold with the highest IoU, the lowest of equal ones; 0: none does better."""
    scored = sorted((each for each in findings if each.score is not None), key=lambda each: each.score or 0.0)
    true = sum(each.true or 0 for each in findings)
    if not scored:
        return 0.0
    scores = np.array([each.score for each in scored])
    if not true:
        return min(1.0, float(scores[-1]) + MARGIN)
    values = np.unique(scores)
    # Between two scores all thresholds do the same; the middle is the one that new photographs may shift most.
    edges = np.append(0.0, (values[:-1] + values[1:]) / 2)
    pixels = np.array([(each.intersection or 0, each.predicted) for each in scored])
    above = pixels[::-1].cumsum(0)[::-1][np.searchsorted(scores, edges)]  # [edges, 2], of segments above each
    union = above[:, 1] + true - above[:, 0]
    return float(edges[np.argmax(above[:, 0] / union)])


def _by_groups(scores: Sequence[float]) -> Choice:
    if len(scores) < MIN_SEGMENTS:
        photographs = "photograph" if len(scores) == 1 else "photographs"
        return Choice(None, f"found in {len(scores)} {photographs}; {MIN_SEGMENTS} or more are needed without masks")
    # The variance that is left within the two groups, for each number of scores in the lower one.
    values = np.array(scores)
    within = [n * np.var(values[:n]) + (len(values) - n) * np.var(values[n:]) for n in range(1, len(values))]
    n_lower = int(np.argmin(within)) + 1
    if min(within) >= (1 - APART) * len(values) * np.var(values):
        return Choice(None, "scores do not fall into two groups")
    edge = float(values[n_lower - 1 : n_lower + 1].mean())
    return Choice(round(edge, DECIMALS), f"a gap in the scores: {n_lower} of {len(values)} lie below it")


def _count(findings: Sequence[Finding]) -> int:
    return sum(finding.score is not None for finding in findings)


@dataclass
class Findings:
    """Collects findings by class, and the answers for the report; all in memory."""

    names: Sequence[str]
    masks: Path | None

    def __post_init__(self) -> None:
        self.by_class: list[list[Finding]] = [[] for _ in self.names]
        self.answers: dict[str, tuple[Photograph, Segmentation]] = {}

    def add(self, photograph: Photograph, answer: Segmentation) -> None:
        """Add a photograph: the best score and the pixels of each class, and the true mask's."""
        self.answers[photograph.name] = (photograph, answer)
        best = {segment.class_index: segment.score for segment in sorted(answer, key=lambda segment: segment.score)}
        scores = [best.get(index) for index in range(len(self.names))]
        if self.masks is None:
            for findings, score in zip(self.by_class, scores, strict=True):
                findings.append(Finding(photograph.name, score))
            return
        truth = _truth(mask_of(self.masks, photograph), answer.size)
        n_values = len(self.names) + 1  # 0: no class
        counted = truth >= 0
        values = np.where(truth < n_values, truth, 0)
        of_classes = count(values[counted], (answer.class_map + 1)[counted], n_values)[:, 1:].T.tolist()
        for findings, score, (correct, true, predicted) in zip(self.by_class, scores, of_classes, strict=True):
            findings.append(Finding(photograph.name, score, correct, predicted, true))


def refuse_missing(photographs: Iterable[Photograph], masks: Path | None) -> None:
    """Refuse photographs that have no true mask, or share one, before a model is loaded."""
    if masks is None:
        return
    paths = Counter(mask_of(masks, photograph) for photograph in photographs)
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise _refused(f"{len(missing)} of {len(paths)} missing", f"{missing[0]}")
    path, n_photographs = paths.most_common(1)[0]
    if n_photographs > 1:
        raise _refused(f"one mask for {n_photographs} photographs", f"one for each called {path.stem}")


def mask_of(folder: Path, photograph: Photograph) -> Path:
    return folder / f"{photograph.stem}.png"


def _truth(path: Path, size: tuple[int, int]) -> NDArray[np.int64]:
    """[H, W] of 1 + class index, 0 without a class; -1 for pixels that do not count."""
    try:
        with Image.open(path) as picture:
            values = np.asarray(picture)
    except OSError as error:
        raise _refused(path.name, f"a PNG of 1 + class index ({error})") from None
    if values.shape != size:
        raise _refused(f"{list(values.shape)} in {path.name}", f"a gray PNG of {list(size)}")
    return np.where((values == IGNORED) & (values.dtype == np.uint8), -1, values.astype(np.int64))


def _refused(came: str, expected: str) -> OptionError:
    return OptionError(f"--masks: expected {expected}, got {came!r}")


class Calibration:
    """Thresholds of a named class list of a server, by photographs and, where there are some, their true masks."""

    def __init__(self, server: Server, vocabulary: str, masks: Path | None) -> None:
        self._server = server
        self._words = server.vocabulary(vocabulary)
        if not self._words.background:
            expected = "one whose `background` is on: where every pixel gets a class nothing is dropped"
            raise OptionError(f"--vocabulary: expected {expected}, got {vocabulary!r}")
        self.findings = Findings([one.name for one in self._words.classes], masks)

    def segment(self, photographs: Photographs) -> int:
        """Collect the findings of each photograph; no segment is dropped for its score. Returns the exit status."""
        classes = [{"name": one.name, "synonyms": list(one.synonyms), "threshold": 0.0} for one in self._words.classes]
        background = background_json(self._words.background)
        fields: dict[str, Any] = {"classes": classes, "background": background, "task": "semantic"}
        return photographs.segment(lambda image: self._server.segment(image, fields), self.findings.add)

    def choose(self) -> list[Choice]:
        by_class = self.findings.by_class
        if self.findings.masks is not None and not any(each.true for of_class in by_class for each in of_class):
            came = f"{len(self.findings.answers)} masks without a pixel of any class"
            raise _refused(came, "1 + class index; 0 is no class, 255 is not counted")
        return [choose(of_class) for of_class in by_class]

    def save(self, choices: Sequence[Choice], save_as: str | None) -> str:
        """Write the thresholds into the list, or into one called `save_as`; returns a sentence about it."""
        named = zip(self.findings.names, choices, strict=True)
        thresholds = {name: choice.threshold for name, choice in named if choice.threshold is not None}
        if not thresholds and not save_as:
            return "No class got a threshold; the vocabulary stays as it was."
        target = save_as or self._words.name
        classes = [replace(one, threshold=thresholds.get(one.name, one.threshold)) for one in self._words.classes]
        self._server.keep_vocabulary(target, classes, self._words)
        return f"{len(thresholds)} of {len(choices)} classes have a threshold in the vocabulary {target}."


def write_report(folder: Path, vocabulary: str, choices: Sequence[Choice], findings: Findings, outcome: str) -> Path:
    """Write report.html into a folder; `outcome` is one sentence on whether the thresholds were kept."""
    rows: list[dict[str, Any]] = []
    for index, (name, choice) in enumerate(zip(findings.names, choices, strict=True)):
        near = _near(findings.by_class[index], choice)
        rows.append(
            {
                "name": name,
                "numbers": (choice.threshold, choice.before, choice.after),
                "reason": choice.reason,
                "figures": [_figure(findings, index, finding, choice) for finding in near],
            }
        )
    path = folder / "report.html"
    title = f"Thresholds of {vocabulary}"
    page = jinja2.Template(PAGE.read_text(encoding="utf-8"), autoescape=True, undefined=jinja2.StrictUndefined)
    write_text(path, page.render(title=title, n_photographs=len(findings.answers), outcome=outcome, rows=rows))
    return path


def _near(findings: Sequence[Finding], choice: Choice) -> list[Finding]:
    scored = sorted((each for each in findings if each.score is not None), key=lambda each: each.score or 0.0)
    if choice.threshold is None:
        return scored[:PICTURES]
    below = [each for each in scored if (each.score or 0.0) < choice.threshold]
    above = [each for each in scored if (each.score or 0.0) >= choice.threshold]
    return [*below[-PICTURES:], *above[:PICTURES]]


def _figure(findings: Findings, index: int, finding: Finding, choice: Choice) -> tuple[str, str]:
    """A class's segments painted on a photograph, as a data URL, and a caption."""
    photograph, answer = findings.answers[finding.image]
    of_class = tuple(segment for segment in answer if segment.class_index == index)
    picture = Image.fromarray(replace(answer, segments=of_class).paint(photograph.pixels()))
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    dropped = choice.threshold is not None and (finding.score or 0.0) < choice.threshold
    caption = f"{Path(finding.image).name}: {finding.score:.3f}, {'dropped' if dropped else 'kept'}"
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2BGR), QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode(), caption
