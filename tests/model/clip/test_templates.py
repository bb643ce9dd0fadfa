"""Template sets as published."""

from __future__ import annotations

import open_clip
import pytest

from lexiseg_model.clip.text_side import background_words, fill, template_set
from lexiseg_model.errors import OptionError
from tests.golden.golden_inputs import TCL_TEMPLATES


def test_imagenet80_is_open_clip_s_list() -> None:
    expected = [template("sofa") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]

    assert [fill(template, "sofa") for template in template_set("imagenet80")] == expected


def test_tcl9_is_the_reference_s_list() -> None:
    assert tuple(template_set("tcl9")) == TCL_TEMPLATES


def test_articles_follow_the_text() -> None:
    assert fill("a photo of {article} {category}.", "apple") == "a photo of an apple."
    assert fill("a photo of {article} {category}.", "pear") == "a photo of a pear."


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(OptionError, match="imagenet80"):
        template_set("imagenet")
    with pytest.raises(OptionError, match="bg26"):
        background_words("bg")
