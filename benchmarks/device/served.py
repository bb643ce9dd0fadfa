"""Images a second that `lexiseg serve` answers on a device, against the bare loop of image passes on it."""

from __future__ import annotations

import asyncio
import time
from statistics import median

import torch

from benchmarks.calls.servers import LEXISEG, serving
from benchmarks.clock import print_table, spread
from benchmarks.device.extent import Extent
from benchmarks.device.passes import MIN_LABELS
from benchmarks.serving import CLASSES, Served, bare_forward, class_map, load, owners_of, photograph
from loadtests.peers.model import BatchedModel, pixels_of
from loadtests.peers.model import load as load_model

GOAL = 0.9  # of the bare loop, at 32 clients


def expected_owners() -> object:
    """[480, 640]: the class of each pixel as the usual formulation has it on a CPU."""
    return owners_of(BatchedModel("cpu").segments([(pixels_of(photograph()), CLASSES)])[0])


def served(device: torch.device, extent: Extent) -> None:
    """Prints both paces and their ratio, taken within a round."""
    bare: list[float] = []
    answered: list[Served] = []
    clients_share: list[float] = []
    segmenter = load_model(str(device))
    with serving(LEXISEG._replace(environment={"LEXISEG_DEVICE": str(device)})) as (url, process):
        equal = float((class_map(url) == expected_owners()).mean())
        assert equal >= MIN_LABELS, f"served: {100 * equal:.2f} % of the pixels have the class that the CPU gives them"
        print(f"\nserved: {100 * equal:.2f} % of the pixels have the CPU's class", flush=True)
        for _ in range(extent.served_rounds):
            bare.append(bare_forward(segmenter, device, extent.tiles)[0])
            wall, cpu = time.perf_counter(), time.process_time()
            answered.append(asyncio.run(load(url, process, extent.clients, extent.served_seconds)))
            clients_share.append((time.process_time() - cpu) / (time.perf_counter() - wall))
    pace = [each.images_per_second for each in answered]
    ratios = [one / loop for one, loop in zip(pace, bare, strict=True)]
    row = [spread(pace, 1), spread(bare, 1), spread(ratios, 3), "yes" if median(ratios) >= GOAL else "no"]
    row += [f"{median(each.median_ms for each in answered):.0f}", f"{median(each.cpu_ms for each in answered):.1f}"]
    head = ["served images/s", "bare loop, images/s", "ratio", f"{GOAL} reached", "median ms"]
    head += ["server CPU ms an image", "clients' share of a core"]
    title = f"lexiseg serve with tiny, {extent.clients} clients, 640 x 480 JPEG, {len(CLASSES)} classes"
    print_table(title, head, [[*row, f"{100 * median(clients_share):.0f} %"]])
