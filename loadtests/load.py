"""What all users of one load share: its options, its photographs and class lists, and the count of checks."""

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

LENGTHS = (5, 20, 150)  # classes of a question
VOCABULARY = "ade20k"  # 150 names, in an order that begins with the commonest
FRAMES = 60
DEFAULT_HOST = "http://localhost:8000"
SEEDS = 1_000_000  # of one process: no two of them send the same photographs
ASKED = ("shape", "num_users", "run_time", "repeat", "prompts", "check", "streams", "fps", "frames", "drop", "images")


@dataclass
class Load:
    """Filled by `begin`, before the first user starts."""

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
        """What every request carries."""
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def next_seed(self) -> int:
        """Another one for each user, the same ones in each run."""
        seed: int = next(self._seeds)
        return seed

    def client(self) -> Client:
        """One of the service under load."""
        return Client(self.host, api_key=self.api_key, grpc_target=self.grpc_target, timeout=120)

    def begin(self, host: str, options: Namespace, process: int = 0) -> None:
        """Gets everything ready that would disturb the measurement later.

        Args:
            host: base URL of the service; none is this machine's.
            options: of the command line.
            process: which of several that make one load together.

        Raises:
            FileNotFoundError: the folder of photographs holds none.
            LexisegError: no service answers.
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
        self.class_lists = [names[:length] for length in LENGTHS]
        self.checked = Checked()
        self._seeds = itertools.count(process * SEEDS)


# locust makes the users itself and hands them nothing of ours.
LOAD = Load()
