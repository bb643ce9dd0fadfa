"""The head that maps C-RADIO's patches to the space of a teacher."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from lexiseg_model.catalogue.weights import for_inference

NAME = "RADSeg"


class Residual(nn.Sequential):
    """A block of a teacher's head."""

    def forward(self, hidden: Tensor) -> Tensor:
        norm, activation, linear = self
        result: Tensor = hidden + linear(activation(norm(hidden)))
        return result


def head_of(state: dict[str, Tensor]) -> nn.Module:
    """C-RADIO's summary adaptor, version 2: patches [..., C] to the space of one teacher, [..., D].

    Raises:
        WeightsError: the weights belong to another network.
    """

    def layers(width: int, out: int) -> tuple[nn.Module, ...]:
        return nn.LayerNorm(width), nn.GELU(), nn.Linear(width, out)

    hidden, width = state["fc1.weight"].shape if "fc1.weight" in state else (1, 1)
    n_blocks = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
    parts = {
        "fc1": nn.Linear(width, hidden),
        "blocks": nn.Sequential(*(Residual(*layers(hidden, hidden)) for _ in range(n_blocks))),
        "final": nn.Sequential(*layers(hidden, len(state.get("final.2.bias", ())))),
    }
    return for_inference(nn.Sequential(OrderedDict(parts)), f"{NAME}'s head", state)
