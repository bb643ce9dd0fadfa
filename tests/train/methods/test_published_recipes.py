"""Recipes of the papers against what their authors published: rates, batches, lengths, optimisers."""

from collections.abc import Iterator
from typing import Any

import pytest

from lexiseg_train.methods.tcl.trainer import untrained
from lexiseg_train.methods.tcl.trainings import TclRecipe
from lexiseg_train.training.checkpoints import rate_factor
from lexiseg_train.training.pair_run import DeitViews
from lexiseg_train.training.recipe import DeitSettings, RunRecipe
from lexiseg_train.training.recipes.read import read_recipe
from tests.train.methods.short_runs import read_as

# Learning rates by step. S-Seg prints the peak alone; ends are those of the configuration that it follows, GroupViT's.
RATES = {
    "tcl": {0: 7.5e-9, 15_000: 7.5e-5, 32_500: 4.25e-5, 50_000: 1e-5},
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
        factor = rate_factor(recipe, step, step / recipe.steps, recipe.warmup_steps / recipe.steps)
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
        learned.grounder.block.requires_grad_(block)
        sizes.append(sum(each.numel() for each in learned.parameters() if each.requires_grad))

    assert [round(size / 1e6, 3) for size in sizes] == [21.638, 28.726]
    assert recipe.grounder_steps == 30_000


def test_photographs_are_varied_as_by_tcl_and_groupvit() -> None:
    crop, flip, policy, *_, erasing = DeitViews(DeitSettings(), 224, "imagenet")._transform.transforms

    assert (crop.size, crop.scale, crop.ratio) == ((224, 224), (0.08, 1.0), (0.75, 4 / 3))
    assert crop.interpolation.value == "bilinear"
    assert flip.p == 0.5
    assert [(each.magnitude, each.magnitude_std) for each in policy.ops] == [(9, 0.5)] * len(policy.ops)
    assert (erasing.probability, erasing.per_pixel, erasing.max_count) == (0.25, True, 1)


# What papers and released code state, and what docs/training.md calls ours, beside rates and batches.
STATED: dict[str, dict[str, Any]] = {
    "tcl": {
        "pairs": ["cc3m", "cc12m"], "steps": 50_001, "seed": 0, "precision": "float16", "micro_batch": 64,
        "decay_rule": "all-but-vectors", "selection": [],
        "loss.image_contrast": 0.1, "loss.feature_contrast": 0.1, "loss.area": 0.4, "loss.negative_area": 0.4,
        "loss.image_variation": 1.0, "loss.mask_variation": 1.0, "loss.own_share": 0.4, "loss.other_share": 0.0,
    },
    "s-seg": {
        "pairs": ["cc3m", "cc12m", "redcaps"], "decay_rule": "all-but-vectors", "backbone": None,
        "masks.tower": "dino_vits8", "masks.k": 8, "masks.iterations": 10, "masks.unit_length": True, "masks.repeat": 1,
        "loss.masks": 1.0, "loss.contrast": 1.0, "loss.earlier_layers": 1.0,
        "loss.mask_losses.focal": 20.0, "loss.mask_losses.dice": 1.0,
        "loss.mask_losses.alpha": 0.25, "loss.mask_losses.gamma": 2.0,
        "network.backbone": "swin_small_patch4_window7_224", "network.drop_path": 0.3, "network.n_queries": 64,
        "network.mask_width": 256, "network.decoder_layers": 6, "network.dropout": 0.1, "network.text_layers": 12,
        "network.text_width": 256, "network.embedding": 256, "network.projector_hidden": 4096,
        "network.pooling": "mean_then_project",
    },
    "s-seg-plus": {
        "steps": 160_000, "warmup_steps": 1500, "weight_decay": 0.05, "learning_rate": 1e-4, "helper": 0.4,
        "phases": [{"after": 0.0, "crop": 512, "global_batch": 16}], "split": "train", "zoom": [0.5, 2.0],
    },
    "unpair-seg-masks": {
        "sets": ["sa-1b"], "steps": 110_000, "seed": 42, "decay_rule": "all-but-norms-and-embeddings",
        "architecture": "convnext_large_d_320", "clip_tag": "laion2b_s29b_b131k_ft_soup", "matching": "released",
        "size.width": 256, "size.heads": 8, "size.encoder_layers": 6, "size.encoder_feed_forward": 1024,
        "size.decoder_layers": 9, "size.decoder_feed_forward": 2048,
        "crops.scale": [0.8, 1.2], "crops.mirrored": 0.5, "crops.colours": True, "crops.min_share": 1e-4,
        "crops.max_share": 0.8, "crops.objects": 40,
        "prompts.grid": 10, "prompts.boxes": 16, "prompts.several": 16, "prompts.points": 3,
        "points.points": 12_544, "points.oversample": 3.0, "points.importance": 0.75,
    },
    "unpair-seg-align": {
        "steps": 22_000, "decay_rule": "all-but-norms-and-embeddings", "momentum": 0.999, "regions": 100,
        "phases": [{"after": 0.0, "crop": 896, "global_batch": 56}], "text": "a photo of a {}.",
        "matching.sizes": [896, 1024], "matching.adapter_share": 0.5, "adapter.width": 256, "adapter.blocks": 2,
        "proposals.grid": 20, "proposals.quality": 0.619, "proposals.rule.overlap": 0.5, "proposals.rule.inside": 0.7,
    },
}  # fmt: skip
ABLATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "tcl-no-area": ("tcl", {"loss.area": 0.0, "loss.negative_area": 0.0}),
    "tcl-no-variation": ("tcl", {"loss.image_variation": 0.0, "loss.mask_variation": 0.0}),
    "tcl-no-image-contrast": ("tcl", {"loss.image_contrast": 0.0}),
    "tcl-no-feature-contrast": ("tcl", {"loss.feature_contrast": 0.0}),
    "s-seg-12m": ("s-seg", {"pairs": ["cc12m"], "steps": 87_891, "warmup_steps": 5859}),
    "s-seg-15m": ("s-seg", {"pairs": ["cc3m", "cc12m"], "steps": 109_863, "warmup_steps": 7324}),
    "s-seg-no-masks": ("s-seg", {"loss.masks": 0.0}),
    "s-seg-no-earlier-layers": ("s-seg", {"loss.earlier_layers": 0.0}),
    "unpair-seg-align-one-scale": ("unpair-seg-align", {"matching.sizes": [896]}),
    "unpair-seg-align-by-clip": ("unpair-seg-align", {"matching.adapter_share": 0.0}),
}


OTHERS = ("tiny", "tiny-prompts", "tiny-directions", "finetune", "distil", "clip", "s-seg-plus")


@pytest.mark.parametrize("name", [*RATES, *OTHERS])
def test_the_code_that_a_training_names_is_there(name: str) -> None:
    assert all(map(callable, read_recipe(name).training.code()))


def settings_of(name: str) -> dict[str, Any]:
    """All settings of a recipe, nested ones by dotted names."""

    def flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
        for key, value in values.items():
            yield from flat(value, f"{above}{key}.") if isinstance(value, dict) and value else [(above + key, value)]

    return dict(flat(read_as(RunRecipe, name).model_dump(mode="json")))


@pytest.mark.parametrize("name", STATED)
def test_settings_are_those_that_were_published_or_named_as_ours(name: str) -> None:
    settings = settings_of(name)

    assert {key: settings[key] for key in STATED[name]} == STATED[name]


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_changes_its_settings_and_nothing_else(name: str) -> None:
    whole, changes = ABLATIONS[name]
    before, after = settings_of(whole), settings_of(name)

    assert {key: after[key] for key in after if after[key] != before[key]} == {
        **changes,
        "out": f"runs/{name}",
        "recipe": name,
    }
