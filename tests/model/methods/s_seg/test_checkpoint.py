"""Loading a mask head or a whole S-Seg: sizes from the weights, errors for other files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lexiseg_model.errors import OptionError, WeightsError
from lexiseg_model.methods.s_seg.checkpoint import read_trained
from tests.model.methods.s_seg import golden
from tests.model.methods.s_seg.small import SMALL, small_network


def test_sizes_of_a_model_are_read_from_its_weights(tmp_path: Path) -> None:
    network = small_network()
    save_file(network.state_dict(), tmp_path / "last.safetensors")

    state, settings = read_trained(tmp_path / "last.safetensors", "test_resnet")

    assert settings == SMALL
    assert state.keys() == network.state_dict().keys()
    for name, weight in network.state_dict().items():
        assert torch.equal(state[name], weight)


def test_weights_of_another_model_or_backbone_are_refused_by_the_name_of_their_file(tmp_path: Path) -> None:
    torch.save({"visual.proj": torch.zeros(2, 2)}, tmp_path / "clip.pth")
    torch.save(golden.state(), tmp_path / "head.pth")
    torch.save(small_network().state_dict(), tmp_path / "last.pth")

    with pytest.raises(WeightsError, match=r"clip\.pth: not the weights of S-Seg: no sem_seg_head"):
        read_trained(tmp_path / "clip.pth")
    with pytest.raises(WeightsError, match=r"head\.pth: not the weights of S-Seg: no text\.token_embedding"):
        read_trained(tmp_path / "head.pth")
    with pytest.raises(WeightsError, match=r"last\.pth: not the weights of S-Seg over test_convnext: missing "):
        read_trained(tmp_path / "last.pth", "test_convnext")
    with pytest.raises(OptionError, match="no backbone 'resnet_of_ours'"):
        read_trained(tmp_path / "last.pth", "resnet_of_ours")
    with pytest.raises(WeightsError, match="no weights at"):
        read_trained(tmp_path / "gone.pth")
