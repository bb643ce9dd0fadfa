"""Kinds of problems, and the list of those of one set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

# What each kind means for whoever trains; those of the first table make the set unfit, the others are to be looked at.
ERRORS = {
    "layout": "a folder, a list or a file is not where it is expected",
    "unreadable": "cannot be read; training skips it",
    "no mask": "a photograph without a mask; the set is refused",
    "mask format": "a mask with several channels or 16 bits; training skips it",
    "size": "a mask of another size than its photograph; training skips it",
    "value": "a mask value beyond the class list; training skips it",
    "in train and val": "the same picture in both splits: what is measured was trained on",
}
WARNINGS = {
    "no photograph": "a mask without a photograph; it is never read",
    "empty class": "a class that no mask of the split shows",
    "all ignored": "a mask of nothing but 255",
    "no classes": "no list of class names: well for regions and prompts, the rest of training refuses the set",
    "twice": "the same picture twice in one split",
    "turned": "an EXIF rotation; masks follow the stored pixels",
    "two names": "one name twice, by letter case or by ending; both have one mask",
    "no object": "a photograph without an object; it teaches nothing of objects",
    "no caption": "a pair without words; training skips it",
}


class Problem(NamedTuple):
    """One thing that is wrong, and where."""

    kind: str
    file: str
    detail: str = ""


@dataclass
class Checked:
    """A set after its check: how many photographs each split has, and what is wrong."""

    photographs: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.kind in ERRORS]

    def counts(self) -> list[tuple[str, int]]:
        """Kinds that were met, errors first, and how often."""
        met = Counter(problem.kind for problem in self.problems)
        return [(kind, met[kind]) for kind in (*ERRORS, *WARNINGS) if met[kind]]

    def examples(self, kind: str, most: int) -> Sequence[Problem]:
        return [problem for problem in self.problems if problem.kind == kind][:most]

    def add(self, problems: Iterable[Problem]) -> None:
        self.problems.extend(problems)
