"""`global_batch` is divided over processes and gradient accumulation."""

from __future__ import annotations

import pytest

from lexiseg_model.errors import RecipeError
from lexiseg_model.training.recipe import divide
from lexiseg_model.training.recipes.read import read_recipe

# shared by the papers and their code: TCL 64 x 16, Unpair-Seg, S-Seg, DINO 64 x 16, CLIP
PUBLISHED = {"tcl": 1024, "unpair-seg-masks": 56, "unpair-seg-align": 56, "s-seg": 4096, "dino": 1024, "clip": 32768}
PUBLISHED |= {"s-seg-plus": 16}


@pytest.mark.parametrize(
    ("processes", "micro_batch", "division"),
    [(1, None, (56, 1)), (8, None, (7, 1)), (1, 7, (7, 8)), (2, 7, (7, 4)), (2, 10, (7, 4)), (8, 7, (7, 1))],
)
def test_a_global_batch_is_divided_over_processes_and_accumulation(
    processes: int, micro_batch: int | None, division: tuple[int, int]
) -> None:
    assert divide(56, processes, micro_batch) == division


def test_a_world_size_that_does_not_divide_the_batch_is_refused_with_valid_ones() -> None:
    with pytest.raises(RecipeError, match=r"global_batch 16 cannot be divided over 3 processes; .* 1, 2, 4, 8, 16$"):
        divide(16, 3, None)


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("tcl-no-area", {"area", "negative_area"}),
        ("tcl-no-variation", {"image_variation", "mask_variation"}),
        ("tcl-no-image-contrast", {"image_contrast"}),
        ("tcl-no-feature-contrast", {"feature_contrast"}),
    ],
)
def test_ablation_recipes_of_tcl_differ_only_in_their_losses(name: str, without: set[str]) -> None:
    whole, ablated = (read_recipe(each).recipe.model_dump() for each in ("tcl", name))

    differing = {key for key in whole if whole[key] != ablated[key]}
    losses = {key for key, weight in ablated["loss"].items() if weight != whole["loss"][key]}

    assert differing == {"recipe", "out", "loss"}
    assert losses == without
    assert all(ablated["loss"][key] == 0 for key in without)
