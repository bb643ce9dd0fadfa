"""What a protocol must be able to do for the calls of `calls`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from lexiseg_client.answers.models import Health, Model
from lexiseg_client.answers.segmentation import Segmentation
from lexiseg_client.calling.steps import Call
from lexiseg_client.pictures.images import Source


class Wire(Protocol):
    """REST or gRPC. `until` is a time of the client's clock."""

    def segment(self, source: Source, question: Mapping[str, Any], until: float) -> Call[Segmentation]:
        """Asks once about an image; `question` as made by `question_json`."""
        ...

    def models(self, until: float) -> Call[list[Model]]:
        """The models that a question may name."""
        ...

    def model(self, name: str, until: float) -> Call[Model]:
        """One of them."""
        ...

    def health(self, timeout: float) -> Call[Health]:
        """One look at the server, without retries."""
        ...
