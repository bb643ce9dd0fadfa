"""Evaluation protocols: texts, image size and windows, temperature and background rule of each data set.

`tcl`, `unpair-seg` and `s-seg` are the three papers' (tcl.json ...); `tcl` has the same rules for every data
set and method. The others are named after an attention policy and repeat what its authors released with their figures,
data set by data set.
"""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import Field

from lexiseg_model.cards import ModelCard, StrictModel
from lexiseg_model.catalogue.method import BUILT_IN
from lexiseg_model.clip.text_side import background_words
from lexiseg_model.errors import OptionError
from lexiseg_model.types import ClassEntry, Refinement
from lexiseg_train.data.benchmark import Benchmark, Convention, benchmark

PAPERS = ("tcl", "unpair-seg", "s-seg")
HERE = Path(__file__).parent
POLICY_DATA = BUILT_IN / "dense_clip" / "data"
# The class files of a policy that has none of its own are the first of these that has some.
NAMES_OF = {"naclip": ("sclip",), "trident": ("proxyclip",)}
# Settings of a method that authors chose for each data set.
RECORDED_SETTINGS = ("sam_factor", "sam_least", "sam_low_bound", "sam_strips")


class Sight(StrictModel):
    """Sides of the resized image in pixels, and the windows on it; no window: the whole image at once."""

    short_side: int
    long_side: int
    window: int | None
    stride: int | None
    settings: dict[str, float] = Field(
        default_factory=dict, description="settings of the method for this data set; used where a card states them"
    )

    def applied_to(self, card: ModelCard) -> ModelCard:
        """The card with this size and these windows."""
        sides = {"short_side": self.short_side, "long_side": self.long_side}
        own = {name: value for name, value in self.settings.items() if name in card.settings}
        settings = card.settings | {"window": self.window, "stride": self.stride} | own
        return card.model_copy(update={"input": card.input.model_copy(update=sides), "settings": settings})


class DatasetRule(StrictModel):
    """A protocol's rule for one data set."""

    sight: Sight | None = Field(None, description="None: the card's own size and windows")
    scale: float | None = Field(None, gt=0, description="factor of scores before the softmax; None: the model's own")
    threshold: float | Literal["own"] | None = Field(
        None, description="a pixel whose best class is less probable is background; own: by the method's own rule"
    )
    smallest_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of the foreground that a class must exceed to keep its pixels (SCLIP's area_thd)",
    )
    background: list[str] = Field(default_factory=list, description="texts of class 0")
    queries: dict[str, list[str]] = Field(default_factory=dict, description="texts in place of a class's name")
    max_ensemble: bool = Field(
        False, description="a class is the best of its texts before the softmax; otherwise each text competes"
    )

    def applied_to(self, card: ModelCard) -> ModelCard:
        """The card with the rule's size and windows, if it takes them."""
        sight = self.as_applied(card).sight
        return card if sight is None else sight.applied_to(card)

    def as_applied(self, card: ModelCard) -> DatasetRule:
        """The rule without what a model does not take: a card of whatever method takes a size if it states windows."""
        return self if "window" in card.settings else self.model_copy(update={"sight": None})


class Protocol(StrictModel):
    """Rules for several data sets, by name."""

    name: str
    title: str
    source: str
    notes: str
    refine: Refinement | None = Field(description="None: the model's own default")
    miou: Convention | None = Field(None, description="None: the convention of each data set's published figures")
    datasets: dict[str, DatasetRule]

    def rule(self, dataset: str) -> DatasetRule:
        """The rule for one data set. Raises OptionError: the protocol does not cover it."""
        if dataset not in self.datasets:
            raise OptionError(
                f"the protocol {self.name} does not cover {dataset!r}; it covers {', '.join(self.datasets)}"
            )
        return self.datasets[dataset]


class Questions(NamedTuple):
    """The classes to score on a data set, and the label [T] of each, ascending."""

    entries: tuple[ClassEntry, ...]
    owner: NDArray[np.int64]


def names() -> tuple[str, ...]:
    return (*PAPERS, *_policy_protocols())


@cache
def protocol(name: str) -> Protocol:
    if name in PAPERS:
        return Protocol.model_validate_json((HERE / f"{name}.json").read_bytes())
    if name not in _policy_protocols():
        raise OptionError(f"no protocol {name!r}; known protocols: {', '.join(names())}")
    return Protocol.model_validate(_policy_protocols()[name])


def questions(benchmark: Benchmark, rule: DatasetRule) -> Questions:
    """The texts to score, and the class of each: one entry per text, or per class; a background may have none."""
    texts_of = [
        rule.background if benchmark.background and label == 0 else rule.queries.get(name, [name])
        for label, name in enumerate(benchmark.classes)
    ]
    if rule.max_ensemble:
        pairs = [(label, ClassEntry(texts[0], tuple(texts[1:]))) for label, texts in enumerate(texts_of) if texts]
    else:
        pairs = [(label, ClassEntry(text)) for label, texts in enumerate(texts_of) for text in texts]
    return Questions(tuple(entry for _, entry in pairs), np.array([label for label, _ in pairs], np.int64))


@cache
def _policy_protocols() -> dict[str, dict[str, Any]]:
    """Values of a `Protocol` for each attention policy, by its name on the command line."""
    policies = yaml.safe_load((POLICY_DATA / "policies.yaml").read_text())
    class_names = json.loads((POLICY_DATA / "class_names.json").read_bytes())
    names_of = {
        policy: ChainMap(*(class_names.get(name, {}) for name in (policy, *NAMES_OF.get(policy, ()))))
        for policy in policies
    }
    return {
        policy.replace("_", "-"): {
            "name": policy.replace("_", "-"),
            "title": f"{policy}, as its authors ran it",
            "source": entry["source"],
            "notes": class_names["notes"],
            "refine": entry.get("refine", "pamr" if entry["settings"]["pamr_iterations"] else "none"),
            "miou": "mmseg",  # all of them are measured by mmseg's IoUMetric, ade847 and pc459 included
            "datasets": {
                dataset: _rule(dataset, entry["settings"] | changes, names_of[policy])
                for dataset, changes in entry["datasets"].items()
            },
        }
        for policy, entry in policies.items()
    }


def _rule(dataset: str, settings: dict[str, Any], class_names: Mapping[str, Any]) -> dict[str, Any]:
    has_background = benchmark(dataset).background
    return {
        "sight": {
            "short_side": settings["short_side"],
            "long_side": settings.get("long_side", 2048),
            "window": settings["window"],
            "stride": settings["stride"],
            "settings": {name: settings[name] for name in RECORDED_SETTINGS if name in settings},
        },
        "scale": settings["logit_scale"],
        "threshold": settings["prob_thd"] or None if has_background else None,
        "smallest_share": settings.get("area_thd"),
        "background": list(background_words(settings["background_words"])) if has_background else [],
        "queries": {name: texts for name, texts in class_names.get(dataset, {}).items() if name != "background"},
    }
