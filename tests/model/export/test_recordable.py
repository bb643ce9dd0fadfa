from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lexiseg_model.export.recordable import NotRecordable, Watch

META = "meta"

NUMBERS: dict[str, Callable[[Tensor], object]] = {
    "item": lambda x: x.sum().item(),
    "if": lambda x: bool(x.any()),
    "allclose": lambda x: torch.allclose(x, x),
    "equal": lambda x: torch.equal(x, x),
}
SHAPES: dict[str, Callable[[Tensor], object]] = {
    "nonzero": lambda x: x.nonzero(),
    "mask": lambda x: x[x > 0],
    "assigned by a mask": lambda x: x.clone().index_put_((x > 0,), x.sum()),
    "unique": lambda x: torch.unique(x),
    "where": lambda x: torch.where(x > 0),
    "repeats": lambda x: x[0].repeat_interleave(x[0].long()),
}


def x(device: str = "cpu") -> Tensor:
    return torch.ones(3, 4, device=device)


@pytest.mark.parametrize("name", NUMBERS)
def test_what_hands_numbers_to_python_is_refused(name: str) -> None:
    with pytest.raises(NotRecordable, match="hands numbers"), torch.inference_mode(), Watch():
        NUMBERS[name](x())


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_that_hang_on_numbers_are_refused(name: str) -> None:
    with pytest.raises(NotRecordable, match=r"hangs on numbers|hands numbers"), torch.inference_mode(), Watch():
        SHAPES[name](x())


@pytest.mark.parametrize(
    "work",
    [
        lambda there: x().to(there.device),
        lambda there: there.copy_(x()),
        lambda there: there.copy_(torch.ones(())),
        lambda there: there[0, torch.tensor([1])],
    ],
    ids=["to", "copy", "copy of a number", "an index"],
)
def test_copies_between_host_and_device_are_refused(work: Callable[[Tensor], object]) -> None:
    there = x(META)

    with pytest.raises(NotRecordable, match="copies from cpu to meta"), torch.inference_mode(), Watch():
        work(there)


def test_layers_are_let_through_with_constants_of_python() -> None:
    there, half = x(META), torch.tensor(0.5)

    with torch.inference_mode(), Watch():
        made = (there * half + 1).masked_fill(there > 2, 0).softmax(1) @ there.T

    assert made.shape == (3, 3)


def test_the_answer_is_that_of_the_pass_alone() -> None:
    with Watch():
        made = x() @ x().T

    assert torch.equal(made, x() @ x().T)


def test_what_was_there_before_is_read_and_held_and_what_is_made_is_not() -> None:
    weights, written, unread = x(), x(), x()
    with Watch() as watch:
        made = (weights * 2).T
        written.add_(made.T)
        written.relu_()

    assert set(map(id, watch.reads)) == {id(weights), id(written)}

    alive = weakref.ref(weights)
    del weights
    gc.collect()
    assert alive() is not None
    assert len(unread) == 3
