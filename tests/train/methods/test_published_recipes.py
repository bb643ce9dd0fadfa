"""Recipes of the papers against what their authors published: rates, batches, lengths, optimisers."""

import pytest

from lexiseg_train.methods.tcl.recipe import TclRecipe
from lexiseg_train.methods.tcl.trainer import untrained
from lexiseg_train.training.pair_run import DeitViews
from lexiseg_train.training.recipe import DeitSettings, RunRecipe
from lexiseg_train.training.schedule import Schedule
from tests.train.methods.short_runs import read_as

# Learning rates by step. S-Seg prints the peak alone; ends are those of the configuration that it follows, GroupViT's.
RATES = {
    "tcl": {0: 7.5e-9, 15_000: 7.5e-5, 50_000: 1e-5},
    "s-seg": {0: 4e-6, 12_695: 5e-4, 190_430: 4e-5},
    "unpair-seg-masks": {0: 1e-4, 93_499: 1e-4, 93_500: 1e-5, 104_500: 1e-6},
    "unpair-seg-align": {0: 1e-4},
}


@pytest.mark.parametrize("name", RATES)
def test_learning_rates_are_those_of_the_authors(name: str) -> None:
    recipe = read_as(RunRecipe, name)
    batch = recipe.phases[0].global_batch
    peak = recipe.learning_rate * (batch / recipe.rate_batch if recipe.rate_batch else 1)
    assert recipe.steps is not None

    for step, rate in RATES[name].items():
        factor = Schedule(recipe).factor(step, step / recipe.steps, recipe.warmup_steps / recipe.steps)
        assert peak * factor == pytest.approx(rate, rel=1e-3), step


@pytest.mark.parametrize(
    ("name", "batch", "crop", "clipped", "epsilon"),
    [
        ("tcl", 1024, 224, 5.0, 1e-6),
        ("s-seg", 4096, 224, 5.0, 1e-8),
        ("unpair-seg-masks", 56, 896, 1.0, 1e-8),
    ],
)
def test_batches_and_optimisers_are_those_of_the_authors(
    name: str, batch: int, crop: int, clipped: float, epsilon: float
) -> None:
    recipe = read_as(RunRecipe, name)

    assert [(phase.global_batch, phase.crop) for phase in recipe.phases] == [(batch, crop)]
    assert (recipe.largest_gradient, recipe.epsilon) == (clipped, epsilon)
    assert (recipe.weight_decay, recipe.betas, recipe.average_decay) == (0.05, (0.9, 0.999), 0.0)


@pytest.mark.parametrize(("name", "millions"), [("s-seg", 26), ("s-seg-12m", 12), ("s-seg-15m", 15)])
def test_s_seg_sees_its_pairs_thirty_times_and_warms_up_in_two(name: str, millions: int) -> None:
    recipe = read_as(RunRecipe, name)
    epoch = millions * 1e6 / recipe.phases[0].global_batch

    assert (recipe.steps, recipe.warmup_steps) == pytest.approx((30 * epoch, 2 * epoch), abs=1)


def test_tcl_trains_the_authors_number_of_weights_in_each_phase() -> None:
    recipe = read_as(TclRecipe, "tcl")
    learned = untrained(recipe)

    sizes = []
    for block in (False, True):
        learned.begin(block=block)
        sizes.append(sum(parameter.numel() for parameter in learned.trained()))

    assert [round(size / 1e6, 3) for size in sizes] == [21.638, 28.726]
    assert recipe.grounder_steps == 30_000


def test_photographs_are_varied_as_by_tcl_and_groupvit() -> None:
    crop, flip, policy, *_, erasing = DeitViews(DeitSettings(), 224, "imagenet")._transform.transforms

    assert (crop.size, crop.scale, crop.ratio) == ((224, 224), (0.08, 1.0), (0.75, 4 / 3))
    assert crop.interpolation.value == "bilinear"
    assert flip.p == 0.5
    assert [(each.magnitude, each.magnitude_std) for each in policy.ops] == [(9, 0.5)] * len(policy.ops)
    assert (erasing.probability, erasing.per_pixel, erasing.max_count) == (0.25, True, 1)


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("tcl-no-area", {"area", "negative_area"}),
        ("tcl-no-variation", {"image_variation", "mask_variation"}),
        ("tcl-no-image-contrast", {"image_contrast"}),
        ("tcl-no-feature-contrast", {"feature_contrast"}),
    ],
)
def test_an_ablation_of_tcl_leaves_out_its_losses_and_nothing_else(name: str, left_out: set[str]) -> None:
    ablation, whole = read_as(TclRecipe, name), read_as(TclRecipe, "tcl")

    assert ablation.model_copy(update={"loss": whole.loss, "out": whole.out, "recipe": "tcl"}) == whole
    assert ablation.loss == whole.loss.model_copy(update=dict.fromkeys(left_out, 0.0))
