"""S-Seg's backbone, network, checkpoints and graph."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lexiseg_model.clip.text import tokenize
from lexiseg_model.errors import OptionError, WeightsError
from lexiseg_model.export.runner import OnnxRunner
from lexiseg_model.export.write import export
from lexiseg_model.methods.s_seg.backbone import Pyramid
from lexiseg_model.methods.s_seg.network import HEAD, read_trained
from tests.model.export.small import noise
from tests.model.methods.s_seg.small import SMALL, small_network, small_segmenter


@torch.no_grad()
def test_an_image_vector_is_the_mean_of_its_mask_vectors() -> None:
    queries = torch.randn(2, 6, 256)
    before = small_network()
    after = small_network(SMALL.model_copy(update={"pooling": "project_then_mean"}))

    mean_first = torch.nn.functional.normalize(before.image_projector(queries.mean(1)), dim=1)
    mean_last = torch.nn.functional.normalize(after.image_projector(queries).mean(1), dim=1)

    torch.testing.assert_close(before.embed_images(queries), mean_first)
    torch.testing.assert_close(after.embed_images(queries), mean_last)
    assert not torch.allclose(mean_first, mean_last, atol=1e-3)


@torch.no_grad()
def test_a_text_vector_is_read_at_its_end_token() -> None:
    network = small_network()
    tokens = tokenize(["a photo of a dog."])
    end = int(tokens[0].argmax())
    behind, within = tokens.clone(), tokens.clone()
    behind[0, end + 1 :] = 7
    within[0, end - 1] = 7

    torch.testing.assert_close(network.embed_texts(behind), network.embed_texts(tokens))
    assert not torch.allclose(network.embed_texts(within), network.embed_texts(tokens), atol=1e-3)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet"])
@torch.no_grad()
def test_the_levels_have_strides_4_to_32(name: str) -> None:
    pyramid = Pyramid(name).eval()

    levels = pyramid(torch.randn(2, 3, 64, 96))

    assert [tuple(level.shape) for level in levels] == [
        (2, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(pyramid.channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256"])
@torch.no_grad()
def test_swin_takes_wide_images_and_gives_normalised_channel_first_maps(name: str) -> None:
    pyramid = Pyramid(name, 0.1).eval()

    levels = pyramid(torch.randn(1, 3, 64, 96))

    assert [tuple(level.shape) for level in levels] == [
        (1, 96, 16, 24), (1, 192, 8, 12), (1, 384, 4, 6), (1, 768, 2, 3),
    ]  # fmt: skip
    for level in levels:
        torch.testing.assert_close(level.mean(1), torch.zeros_like(level[:, 0]), atol=1e-5, rtol=0)
        torch.testing.assert_close(level.var(1, correction=0), torch.ones_like(level[:, 0]), atol=1e-2, rtol=0)


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    donor = Pyramid("test_resnet").body.state_dict()
    save_file(donor, tmp_path / "donor.safetensors")

    pyramid = Pyramid("test_resnet", weights=tmp_path / "donor.safetensors")

    assert donor
    for name, weight in pyramid.body.state_dict().items():
        assert torch.equal(weight, donor[name])
    with pytest.raises(WeightsError, match="no stem"):
        Pyramid("test_convnext", weights=tmp_path / "donor.safetensors")
    with pytest.raises(WeightsError, match="absent"):
        Pyramid("test_resnet", weights=tmp_path / "absent.safetensors")


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
    head = {name: value for name, value in small_network().state_dict().items() if name.startswith(HEAD)}
    torch.save(head, tmp_path / "head.pth")
    torch.save(small_network().state_dict(), tmp_path / "last.pth")

    with pytest.raises(WeightsError, match=r"clip\.pth: not the weights of S-Seg: no sem_seg.*; got visual\.proj"):
        read_trained(tmp_path / "clip.pth")
    with pytest.raises(WeightsError, match=r"head\.pth: not the weights of S-Seg: no text\.token_embedding"):
        read_trained(tmp_path / "head.pth")
    with pytest.raises(WeightsError, match=r"last\.pth: not the weights of S-Seg over test_convnext: missing "):
        read_trained(tmp_path / "last.pth", "test_convnext")
    with pytest.raises(OptionError, match="no backbone 'resnet_of_ours'"):
        read_trained(tmp_path / "last.pth", "resnet_of_ours")
    with pytest.raises(WeightsError, match="no weights at"):
        read_trained(tmp_path / "gone.pth")


@pytest.mark.slow
def test_a_graph_gives_masks_queries_and_vectors_as_the_network_does(tmp_path: Path) -> None:
    segmenter = small_segmenter(SMALL.model_copy(update={"decoder_layers": 1}))  # the others are alike
    tiles = noise(2, (64, 64))
    expected = segmenter.encode_tiles(tiles)

    manifest = export(segmenter, tmp_path / "onnx")
    segmenter.use_image_runner(OnnxRunner(tmp_path / "onnx", manifest, "float32", torch.device("cpu")))

    assert [graph.size for graph in manifest.graphs] == [(64, 64)]
    for ours, theirs in zip(segmenter.encode_tiles(tiles), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
