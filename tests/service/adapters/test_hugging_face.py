import base64
import io

import httpx
import numpy as np
from PIL import Image

from tests.service.adapters.asking import IN_TEXT, PICTURE, SQUARE

URL = "/adapters/hugging-face"


async def test_words_of_the_address_are_answered_with_a_mask_each(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, params={"classes": ["red", "blue"]}, content=PICTURE)

    elements = answer.json()
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(elements[0]["mask"]))))
    assert [element["label"] for element in elements] == ["red", "blue"]
    ys, xs = np.nonzero(mask)
    assert elements[0]["box"] == {"xmin": xs.min(), "ymin": ys.min(), "xmax": xs.max() + 1, "ymax": ys.max() + 1}
    assert (set(np.unique(mask).tolist()), int((mask == 255).sum())) == ({0, 255}, SQUARE)


async def test_parameters_come_with_the_image_in_base64(client: httpx.AsyncClient) -> None:
    body = {"inputs": IN_TEXT, "parameters": {"candidate_labels": ["blue"], "subtask": "panoptic", "threshold": 0.1}}

    answer = await client.post(URL, json=body)

    assert [element["label"] for element in answer.json()] == ["blue"]


async def test_without_words_the_sender_is_told_what_lacks(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, content=PICTURE)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "classes")
