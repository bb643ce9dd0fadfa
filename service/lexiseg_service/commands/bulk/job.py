"""What a job is: all that whoever works on it needs to know, here or on another machine."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from lexiseg_model.errors import OptionError
from lexiseg_model.types import Vocabulary
from lexiseg_service.commands.bulk.plan import Destination, Size
from lexiseg_service.commands.bulk.sources import Source
from lexiseg_service.commands.segment.question import Question
from lexiseg_service.settings import Settings

RECORD = "bulk.json"
BATCH = 32  # tiles in one image pass, where nobody says: what a GPU needs to be busy


@dataclass(frozen=True)
class Job:
    """Pictures, a question, and where the answers go. Sent to other processes as it is."""

    source: Source
    destination: str
    question: Question
    vocabulary: Vocabulary
    settings: Settings
    model: str  # NAME@VERSION
    model_digest: str | None = None  # of rows that are there already
    again: bool = False  # the rows of failures are done once more
    gpu_share: float = 0.0  # of one GPU, that each actor may fill

    @property
    def vocabulary_digest(self) -> str:
        """Of the classes, their synonyms and thresholds, and the rule for the background."""
        return digest_of(self.vocabulary)

    @property
    def asked(self) -> dict[str, Any]:
        """What makes the answers what they are."""
        return {
            **self.question.fields,
            "classes": [entry.name for entry in self.vocabulary.classes],
            "vocabulary_digest": self.vocabulary_digest,
            "model": self.model,
            "source": self.source._asdict(),
        }


def digest_of(vocabulary: Vocabulary) -> str:
    """SHA-256 of what a vocabulary asks for; its own name is no part of it."""
    content = {**asdict(vocabulary), "name": None}
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def batch_settings(settings: Settings) -> Settings:
    """For many pictures at once: batches of a size for GPUs, and a queue that holds two of them."""
    batch = settings.max_batch if "max_batch" in settings.model_fields_set else BATCH
    return settings.model_copy(
        update={"max_batch": batch, "queue_limit": max(settings.queue_limit, 4 * batch), "feature_cache_bytes": 0}
    )


def planned(job: Job, destination: Destination) -> Size | None:
    """The size of the plan that lies in the destination; None where there is none yet.

    Raises:
        OptionError: it is of another job.
    """
    content = destination.read(RECORD)
    if content is None:
        return None
    try:
        record = json.loads(content)
        asked, size = record["asked"], Size(record["inputs"], record["chunks"])
    except (ValueError, KeyError, TypeError):
        raise OptionError(f"{job.destination}/{RECORD} is not of this command; name another folder") from None
    own = json.loads(json.dumps(job.asked))
    others = sorted(key for key in asked.keys() | own.keys() if asked.get(key) != own.get(key))
    if others:
        raise OptionError(
            f"{job.destination} holds answers of another job ({', '.join(others)} differ); name another folder"
        )
    return size


def record(job: Job, destination: Destination, size: Size) -> None:
    """From now on the plan holds."""
    content = {"asked": job.asked, "inputs": size.inputs, "chunks": size.chunks}
    destination.write(RECORD, json.dumps(content, indent=1, ensure_ascii=False).encode())
