"""How a data set is to be asked: texts, size and windows, temperature, background.

`tcl` is TCL's unified protocol (tcl.json), the same rules for every data set and method. The others have the name of
an attention policy and are what its authors released with their figures, data set by data set.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from lexiseg_model.data.benchmark import Benchmark
from lexiseg_model.errors import OptionError
from lexiseg_model.evaluation.benchmarks.policies import policy_protocols
from lexiseg_model.types import ClassEntry, ModelCard, Refinement

UNIFIED = "tcl"
FILE = Path(__file__).parent / f"{UNIFIED}.json"
# Their cards say at what size and in which windows they look.
SLIDING_METHODS = frozenset({"tcl", "dense_clip", "s_seg"})


class Sight(BaseModel):
    """Sides of the resized image in pixels, and the windows on it; no window: the whole image at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    short_side: int
    long_side: int
    window: int | None
    stride: int | None

    def applied_to(self, card: ModelCard) -> ModelCard:
        """The card with this size and these windows; that of a method without windows as it is."""
        if card.method not in SLIDING_METHODS:
            return card
        sides = {"short_side": self.short_side, "long_side": self.long_side}
        windows = {"window": self.window, "stride": self.stride}
        return card.model_copy(
            update={"input": card.input.model_copy(update=sides), "settings": card.settings | windows}
        )


class DatasetRule(BaseModel):
    """What a protocol says about one data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sight: Sight
    scale: float | None = Field(None, gt=0, description="of scores before the softmax; None: the model's own")
    threshold: float | Literal["own"] | None = Field(
        None, description="a pixel whose best class is less probable is background; own: by the method's own rule"
    )
    smallest_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="of the foreground, that a class must exceed to keep its pixels (SCLIP's area_thd)",
    )
    background: list[str] = Field(default_factory=list, description="texts of class 0")
    queries: dict[str, list[str]] = Field(default_factory=dict, description="texts in place of a class's name")


class Protocol(BaseModel):
    """Rules for a number of data sets, by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    source: str
    notes: str
    refine: Refinement | None = Field(description="None: the model's own default")
    datasets: dict[str, DatasetRule]

    def rule(self, dataset: str) -> DatasetRule:
        """The rule for one data set.

        Raises:
            OptionError: the protocol does not cover it.
        """
        if dataset not in self.datasets:
            raise OptionError(
                f"the protocol {self.name} does not cover {dataset!r}; it covers {', '.join(self.datasets)}"
            )
        return self.datasets[dataset]


class Questions(NamedTuple):
    """The texts of a data set as classes of their own, and the label [T] that each stands for, in ascending order."""

    entries: tuple[ClassEntry, ...]
    owner: NDArray[np.int64]


def names() -> tuple[str, ...]:
    """Every protocol there is."""
    return (UNIFIED, *policy_protocols())


@cache
def protocol(name: str) -> Protocol:
    """A protocol by its name.

    Raises:
        OptionError: there is none of that name.
    """
    if name == UNIFIED:
        return Protocol.model_validate_json(FILE.read_bytes())
    if name not in policy_protocols():
        raise OptionError(f"no protocol {name!r}; there is: {', '.join(names())}")
    return Protocol.model_validate(policy_protocols()[name])


def questions(benchmark: Benchmark, rule: DatasetRule) -> Questions:
    """What is asked about a data set: each text competes for itself, and answers for its class.

    A benchmark's background has no text unless the rule gives some.
    """
    texts: list[str] = []
    owner: list[int] = []
    for label, name in enumerate(benchmark.classes):
        own = rule.background if benchmark.background and label == 0 else rule.queries.get(name, [name])
        texts += own
        owner += [label] * len(own)
    return Questions(tuple(ClassEntry(text) for text in texts), np.array(owner, np.int64))
