"""An image pass by torch.compile answers as the same one by torch."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.errors import ExportError
from lexiseg_model.export.choose import use_runtime
from lexiseg_model.export.exportable import TorchPass, require_compiler
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import Segmenter
from tests.model.export.small import edges
from tests.model.methods.sam2 import small as sam2

CPU = Execution(torch.device("cpu"), "exact")


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.fx.GraphModule]]:
    """What torch.compile has taken over, which a backend of this test runs as it is."""
    taken: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _: object) -> object:
        taken.append(graph)
        return graph.forward

    monkeypatch.setattr(TorchPass.compile_image_pass, "__defaults__", (keep,))
    monkeypatch.setattr(require_compiler.__wrapped__, "__defaults__", (keep,))
    yield taken
    require_compiler.cache_clear()
    torch.compiler.reset()


def loaded(name: str) -> Segmenter:
    return sam2.segmenter() if name == "sam2" else catalogue.load(name, device="cpu", precision="exact")


@pytest.mark.parametrize("name", ["sam2", "tiny"])
def test_a_compiled_image_pass_gives_the_same_maps(name: str, graphs: list[torch.fx.GraphModule]) -> None:
    segmenter = loaded(name)
    rgb = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    tiles = segmenter.plan(rgb).tiles
    before = segmenter.encode_tiles(tiles)

    use_runtime(segmenter, "torch-compile", CPU, [], lambda: segmenter)
    graphs.clear()
    after = segmenter.encode_tiles(tiles)

    assert graphs
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other)


def test_where_nothing_can_be_compiled_the_start_says_so_in_one_sentence() -> None:
    with pytest.raises(ExportError, match=r"^runtime torch-compile: torch cannot translate for cpu: .*no-such-backend"):
        require_compiler(torch.device("cpu"), "no-such-backend")


def test_a_method_without_such_a_pass_is_refused() -> None:
    with pytest.raises(ExportError, match="use runtime torch"):
        use_runtime(edges(), "torch-compile", CPU, [], edges)
