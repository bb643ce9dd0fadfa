"""A mask head or a whole S-Seg from a checkpoint: sizes read off the weights, foreign files refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lexiseg_model.errors import OptionError, WeightsError
from lexiseg_model.methods.s_seg.checkpoint import head_from_maskformer, read_trained, restore
from lexiseg_model.methods.s_seg.decoder import MaskHead
from lexiseg_model.methods.s_seg.training.losses import SSegLosses
from tests.model.methods.s_seg import golden
from tests.model.methods.s_seg.small import SMALL, small_network


def test_every_weight_arrives_and_the_class_head_is_left_behind() -> None:
    extra = {
        "sem_seg_head.predictor.class_embed.weight": torch.zeros(2, 256),
        "criterion.empty_weight": torch.ones(2),
        "backbone.norm0.weight": torch.ones(96),
    }

    head = head_from_maskformer(golden.state() | extra)

    for name, weight in head.state_dict().items():
        assert torch.equal(weight, golden.state()[golden.PREFIX + name])


def test_sizes_are_those_of_the_weights() -> None:
    made = MaskHead((8, 16, 24, 32), n_queries=5, depth=2, dropout=0.0, width=64, hidden=96)

    restored = head_from_maskformer({golden.PREFIX + name: weight for name, weight in made.state_dict().items()})

    features = [torch.randn(1, channels, 16 >> level, 16 >> level) for level, channels in enumerate((8, 16, 24, 32))]
    torch.testing.assert_close(restored.eval()(features), made.eval()(features))


def test_a_checkpoint_of_something_else_is_refused() -> None:
    with pytest.raises(WeightsError, match="adapter_1"):
        head_from_maskformer({"visual.proj": torch.zeros(2, 2)})


def test_a_checkpoint_with_a_hole_is_refused() -> None:
    state = {name: weight for name, weight in golden.state().items() if not name.endswith("layers.3.norm2.bias")}

    with pytest.raises(WeightsError, match=r"layers\.3\.norm2\.bias"):
        head_from_maskformer(state)


def test_a_whole_model_comes_back_with_the_sizes_that_its_weights_show(tmp_path: Path) -> None:
    network = small_network()
    save_file(network.state_dict(), tmp_path / "last.safetensors")

    state, settings = read_trained(tmp_path / "last.safetensors", "test_resnet")

    assert settings == SMALL
    assert state.keys() == network.state_dict().keys()
    for name, weight in network.state_dict().items():
        assert torch.equal(state[name], weight)


def test_what_training_keeps_around_the_network_is_left_behind(tmp_path: Path) -> None:
    losses = SSegLosses(small_network())
    wrapped = {f"module.{name}": weight for name, weight in losses.state_dict().items()}
    extra = {"criterion.empty_weight": torch.ones(2), "sem_seg_head.predictor.class_embed.weight": torch.zeros(2, 256)}
    torch.save({"model": wrapped | extra, "optimizer": {"step": 3}, "iteration": 3}, tmp_path / "last.pth")

    state, _ = read_trained(tmp_path / "last.pth", "test_resnet")

    assert state.keys() == small_network().state_dict().keys()


def test_weights_of_another_model_or_backbone_are_refused_by_the_name_of_their_file(tmp_path: Path) -> None:
    torch.save({"visual.proj": torch.zeros(2, 2)}, tmp_path / "clip.pth")
    torch.save(golden.state(), tmp_path / "head.pth")
    torch.save(small_network().state_dict(), tmp_path / "last.pth")

    with pytest.raises(WeightsError, match=r"clip\.pth: not the weights of S-Seg: no sem_seg_head"):
        read_trained(tmp_path / "clip.pth")
    with pytest.raises(WeightsError, match=r"head\.pth: not the weights of S-Seg: no text\.token_embedding"):
        read_trained(tmp_path / "head.pth")
    with pytest.raises(WeightsError, match=r"last\.pth: not the weights of S-Seg over test_convnext: \d+ missing"):
        read_trained(tmp_path / "last.pth", "test_convnext")
    with pytest.raises(OptionError, match="no backbone 'resnet_of_ours'"):
        read_trained(tmp_path / "last.pth", "resnet_of_ours")
    with pytest.raises(WeightsError, match="no weights at"):
        read_trained(tmp_path / "gone.pth")


def test_a_weight_of_another_shape_or_a_width_that_cannot_be_is_refused(tmp_path: Path) -> None:
    state = small_network().state_dict()
    torch.save(state | {"text.token_embedding.weight": torch.zeros(49_408, 100)}, tmp_path / "odd.pth")

    with pytest.raises(WeightsError, match=r"contrast\.log_scale is \[3\]; S-Seg has \[\]"):
        restore(state | {"contrast.log_scale": torch.zeros(3)}, SMALL)
    with pytest.raises(WeightsError, match=r"(?s)odd\.pth: not the sizes of an S-Seg: .*text_width"):
        read_trained(tmp_path / "odd.pth", "test_resnet")
