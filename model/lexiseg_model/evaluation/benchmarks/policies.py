"""The protocols of the attention policies, from what `dense-clip` keeps of their authors' releases."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from lexiseg_model.clip.templates import background_words
from lexiseg_model.data.benchmark import benchmark

DATA = Path(__file__).parents[2] / "methods" / "dense_clip" / "data"
# Where the authors have no class files of their own.
NAMES_OF = {"naclip": "sclip", "maskclip": "clearclip"}
# Here CLIP-DINOiser's second head decides the background; elsewhere the word "background" does (main_eval.py).
HEAD_DECIDES = {"clip_dinoiser": ("voc21", "coco-object")}


@cache
def policy_protocols() -> dict[str, dict[str, Any]]:
    """Values of a `Protocol` for each policy, by its name as the command line spells it."""
    policies = yaml.safe_load((DATA / "policies.yaml").read_text())
    names = json.loads((DATA / "class_names.json").read_bytes())
    return {
        policy.replace("_", "-"): {
            "name": policy.replace("_", "-"),
            "title": f"{policy}, as its authors ran it",
            "source": entry["source"],
            "notes": names["notes"],
            "refine": "pamr" if entry["settings"]["pamr_iterations"] else "none",
            "datasets": {
                dataset: _rule(policy, dataset, entry["settings"] | own, names[NAMES_OF.get(policy, policy)])
                for dataset, own in entry["datasets"].items()
            },
        }
        for policy, entry in policies.items()
    }


def _rule(policy: str, dataset: str, said: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    """Values of a `DatasetRule`."""
    has_background = benchmark(dataset).background
    queries = {name: texts for name, texts in names.get(dataset, {}).items() if name != "background"}
    threshold = "own" if dataset in HEAD_DECIDES.get(policy, ()) else said["prob_thd"] or None
    return {
        "sight": {
            "short_side": said["short_side"],
            "long_side": said.get("long_side", 2048),
            "window": said["window"],
            "stride": said["stride"],
        },
        "scale": said["logit_scale"],
        "threshold": threshold if has_background else None,
        "smallest_share": said.get("area_thd"),
        "background": list(background_words(said["background_words"])) if has_background else [],
        "queries": queries,
    }
