"""Throughput of `lexiseg serve` on a device, relative to the bare image pass."""

from __future__ import annotations

import asyncio
import time
from statistics import median

import torch

from benchmarks.calls.servers import LEXISEG, running_server
from benchmarks.device.image_passes import MIN_LABELS
from benchmarks.device.workload import Workload
from benchmarks.serving import CLASSES, Served, bare_forward, class_map, load, owners_of, photograph
from benchmarks.timing import median_and_range, print_table
from loadtests.peers.model import BatchedModel, pixels_of
from loadtests.peers.model import load as load_model

GOAL = 0.9  # of the bare image pass, at 32 clients


def expected_classes(device: torch.device) -> object:
    """The class index of each pixel [480, 640] by the reference model on the CPU, in float32 for another device."""
    model = BatchedModel("cpu", None if device.type == "cpu" else "torch")  # a CPU serves in 8 bits
    return owners_of(model.segments([(pixels_of(photograph()), CLASSES)])[0])


def serving(device: torch.device, workload: Workload) -> None:
    """Print both throughputs and their ratio within a round."""
    bare_rates: list[float] = []
    results: list[Served] = []
    client_cpu: list[float] = []
    segmenter = load_model(str(device))
    with running_server(LEXISEG._replace(environment={"LEXISEG_DEVICE": str(device)})) as (url, process):
        equal = float((class_map(url) == expected_classes(device)).mean())
        assert equal >= MIN_LABELS, f"served: only {100 * equal:.2f} % of the labels equal the CPU's"
        print(f"\nserved: {100 * equal:.2f} % of the labels equal the CPU's", flush=True)
        for _ in range(workload.served_rounds):
            bare_rates.append(bare_forward(segmenter, device, workload.tiles)[0])
            wall, cpu = time.perf_counter(), time.process_time()
            results.append(asyncio.run(load(url, process, workload.clients, workload.served_seconds)))
            client_cpu.append((time.process_time() - cpu) / (time.perf_counter() - wall))
    rates = [result.images_per_second for result in results]
    ratios = [rate / bare_rate for rate, bare_rate in zip(rates, bare_rates, strict=True)]
    row = [median_and_range(rates, 1), median_and_range(bare_rates, 1), median_and_range(ratios, 3)]
    row += ["yes" if median(ratios) >= GOAL else "no", f"{median(result.median_ms for result in results):.0f}"]
    row.append(f"{median(result.cpu_ms for result in results):.1f}")
    head = ["served images/s", "bare image pass, images/s", "ratio", f"{GOAL} reached", "median ms"]
    head += ["server CPU ms per image", "clients' share of a core"]
    title = f"lexiseg serve with tiny, {workload.clients} clients, 640 x 480 JPEG, {len(CLASSES)} classes"
    print_table(title, head, [[*row, f"{100 * median(client_cpu):.0f} %"]])
