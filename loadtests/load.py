"""State that all users of a load share: options, images, class lists, and the number of checked answers."""

from __future__ import annotations

import itertools
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lexiseg_client import Client
from lexiseg_client.video import DropPolicy
from loadtests.report import Checked
from loadtests.scenes import frames, photographs

CLASS_COUNTS = (5, 20, 150)  # of a request
VOCABULARY = "ade20k"  # 150 names, the most frequent first
FRAMES = 60
DEFAULT_HOST = "http://localhost:8000"
SEEDS_PER_PROCESS = 1_000_000  # so that no two processes send the same images
REPORTED_OPTIONS = (
    *("shape", "num_users", "run_time", "repeat", "prompts", "check", "streams", "fps", "frames", "drop", "images"),
)


@dataclass
class Load:
    """One load; `begin` fills it before the first user starts."""

    repeat: float = 0.0
    prompts: float = 0.0
    check: float = 0.0
    frames_per_second: float = 0.0
    frames_per_stream: int = 0
    drop: DropPolicy = "latest"
    grpc_target: str | None = None
    host: str = ""
    api_key: str | None = None
    photographs: list[bytes] = field(default_factory=list, repr=False)
    frames: list[bytes] = field(default_factory=list, repr=False)
    class_lists: list[list[str]] = field(default_factory=list, repr=False)
    checked: Checked = field(default_factory=Checked)
    _seeds: Any = field(default_factory=itertools.count, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every request."""
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def next_seed(self) -> int:
        """A seed for the next user, the same in each run."""
        seed: int = next(self._seeds)
        return seed

    def client(self) -> Client:
        """A client of the service under load."""
        return Client(self.host, api_key=self.api_key, grpc_target=self.grpc_target, timeout=120)

    def begin(self, host: str, options: Namespace, process: int = 0) -> None:
        """Prepare images, frames and class lists, which would disturb the measurement later.

        Args:
            host: base URL of the service; "": DEFAULT_HOST.
            options: of the command line.
            process: index of this process in a distributed load.

        Raises:
            FileNotFoundError: the folder holds no images.
            LexisegError: the service does not become ready.
        """
        self.host = host or DEFAULT_HOST
        self.repeat, self.check, self.prompts = options.repeat, options.check, options.prompts
        self.frames_per_second, self.frames_per_stream = options.fps, options.frames
        self.drop = options.drop
        self.grpc_target, self.api_key = options.grpc or None, options.api_key or None
        self.photographs = photographs(Path(options.images) if options.images else None)
        self.frames = frames(seed=0, count=FRAMES) if options.streams else []
        with self.client() as client:
            client.wait_until_ready(timeout=options.wait)
            names = [entry.name for entry in client.vocabularies.get(VOCABULARY).classes]
        self.class_lists = [names[:count] for count in CLASS_COUNTS]
        self.checked = Checked()
        self._seeds = itertools.count(process * SEEDS_PER_PROCESS)


# Global, because locust creates the users and passes them no arguments.
LOAD = Load()
