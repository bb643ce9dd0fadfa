"""What the figures are of: the device, its driver, torch, and the number type."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import torch

from lexiseg_model.device import inference_dtype


def processor() -> str:
    """Its name and its number of cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = {line.split(":")[1].strip() for line in lines if line.startswith("model name")}
    cores = len([line for line in lines if line.startswith("processor")])
    return f"{' / '.join(sorted(names)) or platform.machine()}, {cores} cores"


def driver() -> str:
    """The version of NVIDIA's driver; `not known` where its own tool is not there to tell, or does not."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "not known"
    command = (tool, "--query-gpu=driver_version", "--format=csv,noheader")
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    versions = outcome.stdout.split()
    return versions[0] if outcome.returncode == 0 and versions else "not known"


def described(device: torch.device) -> list[list[str]]:
    """Rows of a table: what, and which."""
    rows = [
        ["torch", torch.__version__],
        ["number type of `fast`", str(inference_dtype(device)).removeprefix("torch.")],
    ]
    host = [["processor", processor()], ["threads of torch", str(torch.get_num_threads())]]
    if device.type == "cpu":
        return [["device", "the processor"], *rows, *host]
    about = torch.cuda.get_device_properties(device)
    name = f"{about.name}, {about.total_memory / 2**30:.0f} GiB, {about.multi_processor_count} multiprocessors"
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    cuda = [["CUDA of torch", str(torch.version.cuda)], ["cuDNN", str(cudnn)]]
    return [["device", name], ["driver", driver()], *rows, *cuda, *host]
