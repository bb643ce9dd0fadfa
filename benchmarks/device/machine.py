"""Describe the machine: device, driver, torch, number type."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import torch

from lexiseg_model.resources.device import inference_dtype

CPUINFO = Path("/proc/cpuinfo")


def processor() -> str:
    """The CPU's name and number of cores."""
    if not CPUINFO.exists():  # another system than Linux
        return f"{platform.processor()}, {os.cpu_count()} cores"
    lines = CPUINFO.read_text().splitlines()
    names = {line.split(":")[1].strip() for line in lines if line.startswith("model name")}
    cores = len([line for line in lines if line.startswith("processor")])
    return f"{' / '.join(sorted(names)) or platform.machine()}, {cores} cores"


def driver() -> str:
    """The NVIDIA driver's version from nvidia-smi, or `not known`."""
    nvidia_smi = shutil.which("nvidia-smi")
    if nvidia_smi is None:
        return "not known"
    command = (nvidia_smi, "--query-gpu=driver_version", "--format=csv,noheader")
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    versions = outcome.stdout.split()
    return versions[0] if outcome.returncode == 0 and versions else "not known"


def described(device: torch.device) -> list[list[str]]:
    """Table rows: property, value."""
    rows = [
        ["torch", torch.__version__],
        ["number type of `fast`", str(inference_dtype(device)).removeprefix("torch.")],
    ]
    host = [["processor", processor()], ["threads of torch", str(torch.get_num_threads())]]
    if device.type != "cuda":
        return [["device", "the processor" if device.type == "cpu" else "Apple GPU"], *rows, *host]
    properties = torch.cuda.get_device_properties(device)
    gib = properties.total_memory / 2**30
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    cuda = [["CUDA of torch", str(torch.version.cuda)], ["cuDNN", str(cudnn)]]
    name = f"{properties.name}, {gib:.0f} GiB, {properties.multi_processor_count} multiprocessors"
    return [["device", name], ["driver", driver()], *rows, *cuda, *host]
