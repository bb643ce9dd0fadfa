"""`python -m benchmarks device [NAME]`: what a GPU does, in one command.

NAME is `auto` (a CUDA device), `cuda`, `cuda:N` or `cpu`: the last does less of the same, to see that it works. Answers
are compared with the CPU's before anything is measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

import torch

from benchmarks.clock import print_table
from benchmarks.device.answers import answers
from benchmarks.device.extent import Extent, extent_for
from benchmarks.device.machine import described
from benchmarks.device.passes import MakeVit, tiny_passes, vit_passes
from benchmarks.device.served import served
from benchmarks.device.vit import SIDE, vit
from lexiseg_model.device import choose_device
from lexiseg_model.errors import OptionError


def main(arguments: Sequence[str]) -> None:
    """All tables; ends the program with 2 where there is no such device."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks device", description="What a device does.")
    parser.add_argument("device", nargs="?", default="auto", help="auto (a CUDA device), cuda, cuda:N or cpu")
    name = parser.parse_args(arguments).device
    if name == "auto" and not torch.cuda.is_available():
        _refuse("there is no CUDA device here; `python -m benchmarks device cpu` does less of the same on a CPU")
    try:
        device = choose_device(name)
    except OptionError as error:
        _refuse(str(error))
    measure(device, extent_for(device))


def measure(device: torch.device, extent: Extent, make: MakeVit = vit, side: int = SIDE) -> None:
    """Prints all tables; `make` and `side` as for `vit_passes`."""
    print_table("Measured on", ["", ""], described(device))
    tiny_passes(device, extent)
    vit_passes(device, extent, make, side)
    served(device, extent)
    answers(device, extent)


def _refuse(why: str) -> NoReturn:
    print(f"benchmarks device: {why}", file=sys.stderr)
    sys.exit(2)
