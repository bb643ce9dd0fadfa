"""A request imports nothing."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import asyncio, io, sys
import numpy as np
import lexiseg_service.question
from importlib.resources import files
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse
from lexiseg_service.commands.serving.early import import_early

picture = io.BytesIO()
Image.new("RGB", (8, 8)).save(picture, "PNG")
async def request():
    Image.open(io.BytesIO(picture.getvalue())).load()
    np.unique(np.arange(4)), np.isin([1], [2])
    files("lexiseg_service.question").joinpath("stuff.json").read_bytes()
    await run_in_threadpool(len, "")

import_early()
before = set(sys.modules)
asyncio.run(request())
print(*sorted(set(sys.modules) - before))
"""


def test_what_a_request_needs_is_there_before() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)

    assert run.stdout.split() == []
