from __future__ import annotations

import torch

from lexiseg_model.methods.unpair_seg.layers.mask_decoder import Attention, MaskDecoder, visible
from tests.model.methods.unpair_seg import small


def test_attention_is_torch_s_own_with_the_same_parameters() -> None:
    torch.manual_seed(0)
    theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True)
    ours = Attention(16, 4)
    ours.load_state_dict(theirs.state_dict())
    queries, keys, values = torch.randn(2, 3, 16), torch.randn(2, 5, 16), torch.randn(2, 5, 16)
    seen = torch.rand(2, 3, 5) > 0.3
    seen[..., 0] = True

    found = ours(queries, keys, values, seen)

    expected, _ = theirs(queries, keys, values, attn_mask=~seen.repeat_interleave(4, 0))
    torch.testing.assert_close(found, expected)


def test_a_prompt_looks_where_any_of_its_masks_is() -> None:
    masks = torch.full((1, 1, 2, 2, 2), -1.0)
    masks[0, 0, 0, 0, 0] = 1
    masks[0, 0, 1, 1, 1] = 1

    assert visible(masks).tolist() == [[[True, False, False, True]]]


def test_a_prompt_without_any_mask_looks_everywhere() -> None:
    masks = torch.stack([torch.full((1, 2, 2), -1.0), torch.full((1, 2, 2), 1.0)])[None]
    masks[0, 1, 0, :, 1] = -1

    assert visible(masks).tolist() == [[[True] * 4, [True, False, True, False]]]


@torch.no_grad()
def test_an_answer_does_not_depend_on_what_else_is_asked() -> None:
    network = small.network()
    features = small.features(network)
    points = torch.rand(1, 5, 2, generator=torch.Generator().manual_seed(3)) * 60

    together = network.points(features, points, small.SIZE)
    alone = network.points(features, points[:, 3:4], small.SIZE)

    torch.testing.assert_close(together.masks[:, 3:4], alone.masks, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together.quality[:, 3:4], alone.quality, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_an_answer_comes_from_its_own_image() -> None:
    network = small.network()
    both = small.features(network, images=2)
    alone = both._replace(masks=both.masks[1:], levels=tuple(each[1:] for each in both.levels))
    points = torch.tensor([[[10.0, 10.0]], [[40.0, 50.0]]])

    together = network.points(both, points, small.SIZE)

    torch.testing.assert_close(
        together.masks[1:], network.points(alone, points[1:], small.SIZE).masks, atol=1e-4, rtol=1e-4
    )
    assert not torch.allclose(together.masks[0], together.masks[1], atol=1e-2)


def test_there_is_a_prediction_before_the_first_layer_and_after_each() -> None:
    network = small.network()
    features = small.features(network)
    prompt = network.prompt_encoder.points(torch.tensor([[[10.0, 10.0]]]), features.masks, small.SIZE)

    predictions = network.mask_decoder.every_layer(features, prompt)

    assert len(predictions) == 5
    assert {tuple(each.masks.shape) for each in predictions} == {(1, 1, 4, 16, 24)}
    assert {tuple(each.quality.shape) for each in predictions} == {(1, 1, 4)}
    assert torch.equal(predictions[-1].masks, network.mask_decoder(features, prompt).masks)


def test_points_and_boxes_together_train_everything() -> None:
    network = small.network()
    for name, weight in network.named_parameters():
        if name.endswith("offsets.weight"):  # new ones look around evenly, whatever the query
            torch.nn.init.normal_(weight)
    features = network.features(small.maps())
    points = network.points(features, torch.tensor([[[10.0, 10.0]]]), small.SIZE)
    boxes = network.boxes(features, torch.tensor([[[10.0, 10.0, 50.0, 40.0]]]), small.SIZE)

    sum((each.masks.square().sum() + each.quality.sum() for each in (points, boxes)), torch.zeros(())).backward()  # type: ignore[no-untyped-call]

    idle = {name for name, each in network.named_parameters() if each.grad is None or not each.grad.any()}
    assert idle == set()


def test_the_published_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):
        decoder = MaskDecoder()

    heads = sum(each.numel() for name, each in decoder.named_parameters() if "_heads" in name)
    assert heads == 5 * (5 * (256 * 256 + 256) + 257)
