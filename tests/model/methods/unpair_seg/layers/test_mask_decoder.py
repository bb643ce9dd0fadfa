from __future__ import annotations

import torch

from tests.model.methods.unpair_seg import small


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
