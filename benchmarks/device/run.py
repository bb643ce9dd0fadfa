"""Run all benchmarks of a device: `python -m benchmarks device [NAME]`.

NAME is `auto` (a CUDA device), `cuda`, `cuda:N`, `mps`, or `cpu` for a short run that tests the benchmark itself.
Results are checked against the CPU's before each measurement.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

import torch

from benchmarks.device.finish import finish
from benchmarks.device.image_passes import MakeVit, tiny_passes, vit_passes
from benchmarks.device.machine import described
from benchmarks.device.serving import serving
from benchmarks.device.vit import SIDE, vit
from benchmarks.device.workload import Workload, workload_for
from benchmarks.timing import print_table
from lexiseg_model.errors import OptionError
from lexiseg_model.resources.device import choose_device


def main(arguments: Sequence[str]) -> None:
    """Print all tables; exits with status 2 if there is no such device."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks device", description="Throughput of a device.")
    parser.add_argument("device", nargs="?", default="auto", help="auto (a CUDA device), cuda, cuda:N, mps or cpu")
    name = parser.parse_args(arguments).device
    if name == "auto" and not torch.cuda.is_available():
        _fail("no CUDA device; `python -m benchmarks device cpu` is a short run on the CPU")
    try:
        device = choose_device(name)
    except OptionError as error:
        _fail(str(error))
    measure(device, workload_for(device))


def measure(device: torch.device, workload: Workload, make: MakeVit = vit, side: int = SIDE) -> None:
    """Print all tables; `make` and `side` as for `vit_passes`."""
    print_table("Measured on", ["", ""], described(device))
    tiny_passes(device, workload)
    vit_passes(device, workload, make, side)
    serving(device, workload)
    finish(device, workload)


def _fail(message: str) -> NoReturn:
    print(f"benchmarks device: {message}", file=sys.stderr)
    sys.exit(2)
