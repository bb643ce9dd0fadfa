from __future__ import annotations

import torch

from lexiseg_model.methods.unpair_seg.layers.trunk import RegionAdapter
from lexiseg_model.methods.unpair_seg.network import PromptableMasks, UnpairSegNetwork
from lexiseg_model.methods.unpair_seg.settings import Sizes
from lexiseg_model.methods.unpair_seg.training.alignment import alignment_loss, entity_probabilities, match_entities
from lexiseg_model.methods.unpair_seg.training.views import at_sizes
from tests.model.methods.unpair_seg import small

IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(4))
EVERYWHERE = torch.ones(2, 1, 16, 24)


def network(*, adapted: bool) -> UnpairSegNetwork:
    trunk = small.trunk()
    masks = PromptableMasks(Sizes(trunk.channels, small.WIDTH, 4, 1, 32, 3, 32))
    adapter = RegionAdapter(trunk.channels, small.WIDTH, width=32) if adapted else None
    return UnpairSegNetwork(trunk, masks, adapter)


@torch.no_grad()
def test_one_image_pass_answers_prompts_and_names_what_they_find() -> None:
    made = network(adapted=False).eval()

    encoded = made(IMAGES)
    found = made.masks.boxes(encoded.features, torch.tensor([[[8.0, 8.0, 60.0, 50.0]]]).expand(2, 1, 4), (64, 96))
    rows = made.embed(encoded, found.masks.flatten(1, 2))

    assert found.masks.shape == (2, 1, 1, 16, 24)
    assert rows.shape == (2, 1, 24)
    torch.testing.assert_close(made.embed(encoded, EVERYWHERE)[:, 0], made.trunk.visual(IMAGES), atol=1e-5, rtol=1e-5)


def test_stage_two_trains_the_adapter_and_leaves_clip_alone() -> None:
    made = network(adapted=True).train()
    made.masks.requires_grad_(False)
    assert made.adapter is not None
    torch.nn.init.normal_(made.adapter.output.weight)

    made.embed(made(IMAGES), EVERYWHERE).square().sum().backward()  # type: ignore[no-untyped-call]

    learning = {name for name, each in made.named_parameters() if each.grad is not None}
    assert learning == {f"adapter.{name}" for name, _ in made.adapter.named_parameters()}


def test_stage_two_draws_regions_to_the_entities_that_clip_found_for_them() -> None:
    made = network(adapted=True).train()
    assert made.adapter is not None
    optimizer = torch.optim.AdamW(made.adapter.parameters(), 1e-3)
    regions_of = torch.randn(2, 4, 16, 24, generator=torch.Generator().manual_seed(6))
    entities = torch.randn(2, 3, 24, generator=torch.Generator().manual_seed(7))

    views = at_sizes(made.trunk, IMAGES, regions_of, [64, 96])
    pairs = [
        match_entities(entity_probabilities([view[image] for view in views], entities[image], 100.0))
        for image in range(2)
    ]
    losses = []
    for _ in range(15):
        adapted = made.embed(made(IMAGES), regions_of)
        loss = alignment_loss(list(adapted), list(entities), pairs)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))

    assert [len(of.region) for of in pairs] == [3, 3]
    assert losses[-1] < losses[0] - 0.2
