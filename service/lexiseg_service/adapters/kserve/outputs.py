"""What an answer's tensors mean: labels, scores, boxes, masks. Shared by REST and gRPC."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from lexiseg_service.adapters.answering import run_lengths
from lexiseg_service.adapters.kserve.describing import OUTPUTS
from lexiseg_service.adapters.kserve.tensors import OutputTensor
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.messages import WorkerAnswer


def outputs_of(answer: WorkerAnswer, wanted: list[str]) -> list[OutputTensor]:
    """The outputs that are wanted, in that order; all where none is named. A mask is the JSON of COCO's run lengths.

    Raises:
        InvalidValue: there is none of a name, or one is wanted twice.
    """
    segments, n = answer.segments, len(answer.segments)
    there = {
        "labels": ([(segment.label or "").encode() for segment in segments], [n]),
        "class_indices": ([-1 if s.class_index is None else s.class_index for s in segments], [n]),
        "scores": ([segment.score for segment in segments], [n]),
        "boxes": (np.array([segment.bbox for segment in segments], np.int32).reshape(n, 4), [n, 4]),
        "areas": ([segment.area for segment in segments], [n]),
        "masks": ([orjson.dumps(run_lengths(segment)) for segment in segments], [n]),
        "size": (list(answer.size), [2]),
    }
    types: dict[str, Any] = {str(output["name"]): output["datatype"] for output in OUTPUTS}
    for name in wanted:
        if name not in there:
            raise InvalidValue.of("outputs", name, f"of {', '.join(there)}")
    if len(wanted) > len(set(wanted)):  # each would be as long again as all masks
        raise InvalidValue.of("outputs", f"{len(wanted)} names", "each name once")
    return [OutputTensor(name, types[name], there[name][1], there[name][0]) for name in wanted or there]  # type: ignore[arg-type]
