"""A project's configuration, and the regions that are predicted for it."""

from typing import Any

import httpx

from tests.service.adapters.asking import DATA_URI

URL = "/adapters/label-studio"
LABELS = '<Label value="Strawberry" predicted_values="red"/><Label value="blue"/>'
CONFIG = f"""<View>
  <Image name="image" value="$photo"/>
  <BrushLabels name="tag" toName="image">{LABELS}</BrushLabels>
  <KeyPointLabels name="click" toName="image" smart="true">{LABELS}</KeyPointLabels>
</View>"""


def asked(config: str = CONFIG, image: str = DATA_URI, **params: Any) -> dict[str, Any]:
    return {"tasks": [{"id": 3, "data": {"photo": image}}], "label_config": config, "params": params}


async def regions(client: httpx.AsyncClient, **of_request: Any) -> list[dict[str, Any]]:
    answer = await client.post(f"{URL}/predict", json=asked(**of_request))
    assert answer.status_code == 200, answer.text
    (prediction,) = answer.json()["results"]
    assert prediction["model_version"] == answer.json()["model_version"]
    found: list[dict[str, Any]] = prediction["result"]
    return found
