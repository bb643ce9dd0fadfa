"""What metrics show of the folder of trainings."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from typing import get_args

from lexiseg_service.gateway.trainings.training import State, TrainingFolder
from lexiseg_service.watch.background import Disk, TrainingsSeen

ALIVE_SECONDS = 60.0  # since the last sign of a trainer, which gives one every few seconds


def watch(folder: TrainingFolder) -> TrainingsSeen | None:
    """Look at the folder; None if it cannot be read."""
    try:
        disk = shutil.disk_usage(folder.root)
    except OSError:
        return None
    standings = [(training, folder.standing(training.id)) for training in folder.all()]
    waiting = [training.created for training, standing in standings if standing.state == "waiting"]
    states = Counter(standing.state for _, standing in standings)
    since = folder.seconds_since_beat()
    return TrainingsSeen(
        {state: states[state] for state in get_args(State)},
        max(0.0, time.time() - min(waiting)) if waiting else 0.0,
        since is not None and since <= ALIVE_SECONDS,
        Disk(disk.free, disk.total),
    )
