"""What the optimiser is given: weight decay by rule, learning rates, batches, parts that are compiled or recomputed."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from lexiseg_model.errors import RecipeError
from lexiseg_model.methods.s_seg_plus.network import Student
from lexiseg_train.methods.s_seg_plus.trainings import StudentRecipe
from lexiseg_train.training.checkpoints import Reached, rate_factor, share_done
from lexiseg_train.training.learner import compile_parts, groups, recompute
from lexiseg_train.training.recipe import DecayRule, divide
from tests.model.methods.s_seg_plus.small import CLASSES, NETWORK
from tests.train.methods.short_runs import read_as
from tests.train.training.toy import ToyNetwork, recipe_for


@pytest.mark.parametrize(
    ("rule", "decayed"),
    [
        ("matrices", {"first.weight", "second.weight"}),
        ("all-but-vectors", {"first.weight", "second.weight", "scale"}),
        ("all-but-norms-and-embeddings", {"first.weight", "first.bias", "second.weight", "second.bias"}),
    ],
)
def test_weight_decay_follows_its_rule(rule: DecayRule, decayed: set[str]) -> None:
    assert {name for group in groups(ToyNetwork(), rule) if group.decays for name in group.names} == decayed


def test_a_parameter_group_has_its_learning_rate_factor() -> None:
    found = groups(ToyNetwork(), "matrices", {"first": 0.1, "first.bias": 0.5})

    by_factor = {group.factor: group.names for group in found if group.names and not group.decays}
    assert by_factor[0.5] == ["first.bias"]
    assert [(group.names, group.factor) for group in found if group.decays][:2] == [
        (["second.weight"], 1.0),
        (["first.weight"], 0.1),
    ]


STEPS, WARMUP, DECAY = 100, 10, 20


def factors(**values: Any) -> list[float]:
    """Of every step and of the end."""
    recipe = recipe_for(steps=STEPS, warmup_steps=WARMUP, **values)
    return [rate_factor(recipe, step, step / STEPS, WARMUP / STEPS) for step in range(STEPS + 1)]


def test_the_rate_warms_up_and_decays_to_near_zero_at_the_end() -> None:
    rates = factors(decay_steps=DECAY, last_rate=0.01)
    falling = rates[STEPS - DECAY :]

    assert [rates[step] for step in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert falling == sorted(falling, reverse=True)
    assert [falling[DECAY // 2], falling[-1]] == pytest.approx([0.01 + 0.99 / 2, 0.01])


def test_a_budget_counts_steps_examples_or_time() -> None:
    reached = Reached(steps=30, examples=50, seconds=90)

    assert share_done(recipe_for(steps=60), None, reached) == 0.5
    assert share_done(recipe_for(steps=None, epochs=2), 100, reached) == 0.25
    assert share_done(recipe_for(steps=None, minutes=2), None, reached) == 0.75
    assert share_done(recipe_for(steps=20), None, reached) == 1


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


def test_parts_that_are_computed_again_keep_less_and_have_the_same_gradients() -> None:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))

    def backward(*parts: str) -> tuple[int, list[Tensor]]:
        torch.manual_seed(0)
        network = Student(NETWORK.model_copy(update={"classes": CLASSES, "drop_path": 0.3})).train()
        recompute(network, parts)
        kept: list[int] = []

        def keep(held: Tensor) -> Tensor:
            kept.append(held.nbytes)
            return held

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda held: held):
            loss = network(images).square().mean()
        loss.backward()
        return sum(kept), [each.grad for each in network.parameters() if each.grad is not None]

    (whole, gradients), (less, again) = backward(), backward("backbone.model.blocks")

    assert less < 0.7 * whole
    assert all(torch.equal(*pair) for pair in zip(gradients, again, strict=True))


def test_a_compiled_part_has_the_same_names_and_gradients() -> None:
    inputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))

    def gradients(*parts: str) -> dict[str, Tensor]:
        torch.manual_seed(0)
        network = ToyNetwork()
        compile_parts(network, parts, "aot_eager")
        names = network.state_dict().keys()
        network.eval()(inputs).square().sum().backward()
        assert network.state_dict().keys() == names
        return {name: each.grad for name, each in network.named_parameters() if each.grad is not None}

    torch.testing.assert_close(gradients("first", "second"), gradients())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (partial(compile_parts, parts=["blocks"], backend="eager"), "compiled: the network has no part blocks"),
        (partial(compile_parts, parts=["first"], backend="fast"), r"compiler: there is no backend fast; .*inductor"),
        (partial(recompute, parts=["first", "blocks"]), "recompute: the network has no part blocks"),
        (partial(recompute, parts=["norm"]), "recompute: norm has batch norms, whose statistics would count twice"),
    ],
)
def test_parts_that_cannot_be_changed_are_named(change: Callable[[ToyNetwork], None], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        change(ToyNetwork())


def test_the_student_of_s_seg_has_mmsegs_layer_decay() -> None:
    recipe = read_as(StudentRecipe, "s-seg-plus")
    with torch.device("meta"):
        network = Student(recipe.network.model_copy(update={"classes": CLASSES}))

    sorted_in = groups(network, recipe.decay_rule, recipe.rate_factors)

    rates = {name: group.factor for group in sorted_in for name in group.names}
    depth = 12
    for block in range(depth):
        assert rates[f"backbone.model.blocks.{block}.mlp.fc1.weight"] == pytest.approx(
            0.65 ** (depth - block), abs=1e-5
        )
    assert rates["backbone.model.pos_embed"] == pytest.approx(0.65 ** (depth + 1), abs=1e-5)
    assert rates["head.classifier.weight"] == 1
    assert (recipe.network.width, recipe.largest_gradient, recipe.last_rate) == (768, None, 0)
