"""What the list of models says that ran here: each row names the tests that show it."""

import ast
from pathlib import Path

import pytest

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.available import AvailableModel, available

TESTS = Path(__file__).resolve().parents[2]
# A test compares the forward pass on random weights with released code: run, transcribed, or its stored arrays.
FORWARD = {
    "tiny": ("model/methods/tiny/test_trunk.py", "test_the_trunk_equals_timms_network_tensor_by_tensor"),
    "tipsv2": ("model/methods/tipsv2/test_tipsv2.py", "test_patches_are_those_of_transformers"),
    "tips": ("model/methods/tipsv2/test_released.py", "test_patches_and_rows_are_those_of_the_released_code"),
    "naclip": ("model/methods/dense_clip/test_golden.py", "test_an_attention_policy_repeats_its_released_code"),
    "corrclip": ("model/methods/dense_clip/test_corrclip.py", "test_patches_are_those_of_the_released_code"),
    "trident": ("model/methods/dense_clip/test_trident.py", "test_cosines_are_those_of_the_released_code"),
    "tcl": ("model/methods/tcl/test_golden.py", "test_the_grounder_equals_the_reference"),
    "unpair_seg": (
        "model/methods/unpair_seg/test_golden.py",
        "test_a_grid_proposes_what_the_released_code_does_however_it_is_cut",
    ),
    "sam2": ("model/methods/sam2/test_sam2.py", "test_a_prompt_has_the_masks_of_the_models_own_forward_pass"),
    "edgetam": ("model/methods/sam2/test_sam2.py", "test_an_object_is_followed_by_edgetam_as_by_transformers"),
    "sam3": ("model/methods/sam3/test_segmenter.py", "test_each_word_is_seen_as_by_the_models_own_forward_pass"),
    "sam3-litetext": (
        "model/methods/sam3/test_segmenter.py",
        "test_a_light_text_tower_sees_each_word_as_the_models_own_forward_pass",
    ),
    "falcon_perception": ("falcon/test_network.py", "test_pixel_features_masks_and_scores_equal_the_released_codes"),
}
KIND = {"edgetam": "edgetam", "sam3-litetext": "sam3-litetext", "tips-s14": "tips"}


def kind_of(entry: AvailableModel) -> str:
    if entry.method == "dense_clip":
        return str(catalogue.find(entry.name).card.settings["policy"])
    return KIND.get(entry.name, entry.method)


@pytest.mark.parametrize("name", available())
def test_an_equal_forward_pass_is_shown_by_a_test_and_no_other_is_claimed(name: str) -> None:
    entry = available()[name]
    file, test = FORWARD[kind_of(entry)]

    assert entry.forward_equal == "yes"
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", available())
def test_a_model_ran_on_its_authors_weights_only_where_these_are_here(name: str) -> None:
    entry = available()[name]
    weights_are_here = entry.download_mb == 0 and any(catalogue.bundled()[name].glob("*.safetensors"))

    assert entry.proven == ("yes" if weights_are_here else "not yet")
    assert (entry.check_of is not None) == weights_are_here
