"""Answers of the REST protocol: JSON, with tensors in it or as bytes behind it."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

from lexiseg_service.adapters.answering import as_json
from lexiseg_service.adapters.kserve.tensors import OutputTensor


def written(head: dict[str, Any], outputs: list[OutputTensor], raw: set[str]) -> Response:
    """An answer, the outputs named in `raw` as bytes behind its JSON."""
    described, tails = [], []
    for output in outputs:
        plain = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        if output.name in raw:
            tails.append(output.raw())
            described.append({**plain, "parameters": {"binary_data_size": len(tails[-1])}})
        else:
            described.append({**plain, "data": output.listed()})
    said = {**{name: value for name, value in head.items() if value is not None}, "outputs": described}
    if not tails:
        return as_json(said)
    content = orjson.dumps(said)
    headers = {"Inference-Header-Content-Length": str(len(content))}
    return Response(content + b"".join(tails), headers=headers, media_type="application/octet-stream")
