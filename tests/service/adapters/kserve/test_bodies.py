from __future__ import annotations

from typing import Any

import pytest

from lexiseg_service.adapters.kserve import Infer, OutputTensor

OUTPUTS = [OutputTensor("scores", "FP32", [1], [0.5]), OutputTensor("labels", "BYTES", [1], [b"red"])]  # type: ignore[list-item]
AS_BYTES, AS_JSON = {"binary_data": True}, {"binary_data": False}


@pytest.mark.parametrize(
    ("parameters", "wanted", "raw"),
    [
        ({}, {}, set()),
        ({"binary_data_output": True}, {}, {"scores", "labels"}),
        ({}, {"scores": AS_BYTES, "labels": {}}, {"scores"}),
        ({"binary_data_output": True}, {"scores": {}, "labels": AS_JSON}, {"scores"}),
    ],
    ids=["nobody says", "the request says", "an output says", "an output says otherwise"],
)
def test_outputs_go_as_bytes_where_they_or_the_request_say_so(
    parameters: dict[str, Any], wanted: dict[str, dict[str, Any]], raw: set[str]
) -> None:
    outputs = [{"name": name, "parameters": of_one} for name, of_one in wanted.items()]
    asked = Infer.model_validate({"inputs": [], "outputs": outputs, "parameters": parameters})

    assert asked.raw_among(OUTPUTS) == raw
