"""A model as X-AnyLabeling lists it: which of the tool's own fields and buttons stand beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What the tool shows of its own for a model, by what the model is asked for.
OF_WORDS = {"edit_text": None, "button_send": None, "edit_conf": 0.0, "toggle_preserve_existing_annotations": False}
HINT = {"placeholder": "words, with commas or full stops between them"}
OF_CLICKS = dict.fromkeys(
    f"button_{name}" for name in ("add_point", "remove_point", "add_rect", "clear", "finish_object")
) | {"output_label": None}


def model_of(card: Mapping[str, Any]) -> dict[str, Any]:
    """What the tool is told of a model."""
    shown = {**OF_WORDS, **(OF_CLICKS if "prompt" in card["tasks"] else {})}
    widgets = [{"name": name, "value": value, **(HINT if name == "edit_text" else {})} for name, value in shown.items()]
    texts = {"display_name": f"lexiseg {card['name']}", "params": {}, "batch_processing_mode": "text_prompt"}
    return {**texts, "widgets": widgets}
