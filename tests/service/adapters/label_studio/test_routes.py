import socket
from typing import Any

import httpx
import pytest

from lexiseg_service.adapters.label_studio import MAX_CHARACTERS, MAX_TAGS, control_of
from lexiseg_service.adapters.label_studio_jobs import MAX_TASKS
from lexiseg_service.errors import InvalidValue
from tests.service.adapters.asking import HEIGHT, SQUARE, WIDTH, adapted
from tests.service.adapters.label_studio.predicting import CONFIG, URL, asked, regions

ONE_LABEL = CONFIG.replace('<Label value="blue"/>', "").replace(
    "</View>", '<TextArea name="words" toName="image" editable="true"/></View>'
)


def drawn(kind: str, label: str, **value: float) -> dict[str, Any]:
    return {
        "type": kind, "value": {**value, kind: [label]}, "original_width": WIDTH, "original_height": HEIGHT,
        "is_positive": True,
    }  # fmt: skip


async def test_labels_are_found_by_the_words_that_they_bring(client: httpx.AsyncClient) -> None:
    found = await regions(client)

    assert [region["value"]["brushlabels"] for region in found] == [["Strawberry"], ["blue"]]
    assert {(region["from_name"], region["to_name"], region["type"]) for region in found} == {
        ("tag", "image", "brushlabels")
    }
    assert {(region["original_width"], region["original_height"]) for region in found} == {(WIDTH, HEIGHT)}


@pytest.mark.parametrize(
    ("label", "written"), [('value="bl\u00adue"', "bl\u00adue"), ('value="blue" alias="Stain 1"', "Stain 1")]
)
async def test_a_label_is_answered_as_it_is_written(client: httpx.AsyncClient, label: str, written: str) -> None:
    found = await regions(client, config=CONFIG.replace('value="blue"', label))

    assert [region["value"]["brushlabels"] for region in found] == [["Strawberry"], [written]]


async def test_polygons_and_rectangles_are_in_percent(client: httpx.AsyncClient) -> None:
    (polygon, _), (_, rectangle) = [
        await regions(client, config=CONFIG.replace("BrushLabels", tag)) for tag in ("PolygonLabels", "RectangleLabels")
    ]

    corners = {tuple(round(value, 3) for value in point) for point in polygon["value"]["points"]}
    assert corners == {(0, 0), (33.333, 0), (33.333, 66.667), (0, 66.667)}
    assert polygon["value"]["polygonlabels"] == ["Strawberry"]
    box = {name: round(rectangle["value"][name], 3) for name in ("x", "y", "width", "height")}
    assert box == {"x": 66.667, "y": 0, "width": 33.333, "height": 66.667}


async def test_a_click_is_one_region_of_the_chosen_label_at_any_threshold_of_words(client: httpx.AsyncClient) -> None:
    click = drawn("keypointlabels", "Strawberry", x=100 * 4 / WIDTH, y=100 * 4 / HEIGHT)

    strict = CONFIG.replace("<BrushLabels ", '<BrushLabels model_score_threshold="0.999" ')
    (region,) = await regions(client, config=strict, context={"result": [click]})

    assert region["value"]["brushlabels"] == ["Strawberry"]
    assert ones(region["value"]["rle"]) == SQUARE


@pytest.mark.parametrize(
    "value",
    [
        {"x": 60, "width": 40, "height": 70},
        {"x": 100, "width": 70 * HEIGHT / WIDTH, "height": 40 * WIDTH / HEIGHT, "rotation": 90},
    ],
    ids=["upright", "turned"],
)
async def test_a_smart_rectangle_is_a_box(client: httpx.AsyncClient, value: dict[str, float]) -> None:
    box = drawn("rectanglelabels", "blue", y=0, **value)

    (region,) = await regions(client, context={"result": [box]})

    assert ones(region["value"]["rle"]) == SQUARE


@pytest.mark.parametrize("text", [["red, blue"], ["red", " blue "], "red,blue"])
async def test_typed_words_are_asked_in_place_of_the_labels(client: httpx.AsyncClient, text: Any) -> None:
    typed = {"type": "textarea", "value": {"text": text}, "from_name": "words", "to_name": "image"}
    found = await regions(client, config=ONE_LABEL, context={"result": [typed]})

    # The label that has the word, else the first one, with the word beside it.
    assert [(region["value"]["brushlabels"], region.get("meta")) for region in found] == [
        (["Strawberry"], {"text": ["red"]}), (["Strawberry"], {"text": ["blue"]})
    ]  # fmt: skip


async def test_what_marks_an_unknown_word_says_that_it_is_a_guess(client: httpx.AsyncClient) -> None:
    config = CONFIG.replace('predicted_values="red"', 'predicted_values="crimson"')
    answer = await client.post(f"{URL}/predict", json=asked(config=config))

    (prediction,) = answer.json()["results"]
    assert "'Strawberry' is far from every word" in prediction["warnings"][0]
    assert {region["value"]["brushlabels"][0]: region.get("meta") for region in prediction["result"]} == {
        "Strawberry": {"text": prediction["warnings"]}, "blue": None
    }  # fmt: skip


async def test_what_label_studio_asks_first_is_answered(client: httpx.AsyncClient) -> None:
    health, setup = await client.get(f"{URL}/health"), await client.post(f"{URL}/setup", json={"project": "1"})
    event = await client.post(f"{URL}/webhook", json={"action": "ANNOTATION_CREATED"})

    assert health.json()["status"] == "UP"
    assert setup.json()["model_version"] == (await client.get(f"{URL}/versions")).json()["versions"][0]
    assert event.status_code == 201


async def test_labels_that_no_question_may_have_are_refused_when_a_project_connects(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{URL}/setup", json={"project": "1", "schema": CONFIG.replace("blue", "strawberry")})

    assert answer.status_code == 422
    assert [error["value"] for error in answer.json()["errors"]] == ["strawberry"]


def ones(packed: list[int]) -> int:
    """Pixels inside a brush's bytes, read bit by bit as their description says."""
    bits = "".join(f"{byte:08b}" for byte in packed)
    at = 0

    def take(n: int) -> int:
        nonlocal at
        at += n
        return int(bits[at - n : at], 2)

    total, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values = inside = 0
    while values < total:
        assert take(1) == 1, "a mask is runs alone"
        length = take(sizes[take(2)]) + 1
        inside += length if take(word) else 0
        values += length
    assert values == total
    return inside // 4


# Label Studio stores `result`, an empty one as "nothing found", and logs an entry without it.
async def test_a_task_past_a_limit_has_an_error_and_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexiseg_service.gateway.admission.limits.BURST_SECONDS", 2000)
    batch = asked()
    batch["tasks"] = batch["tasks"] * 4
    async with adapted("label-studio", rate_limit=0.001) as client:
        answer = await client.post(f"{URL}/predict", json=batch)

    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [bool(one.get("result")) for one in results] == [True, True, False, False]
    assert ["result" in one for one in results[2:]] == [False, False]
    assert [one["error"]["type"] for one in results[2:]] == ["rate-limited"] * 2
    assert answer.json()["tasks"] == {"done": 2, "problem": 0, "not_yet": 2}


async def test_a_task_whose_image_cannot_be_read_has_an_error_and_no_result(client: httpx.AsyncClient) -> None:
    batch = asked()
    broken = {"data": {"photo": "data:image/png;base64,AAAA"}}

    mixed = await client.post(f"{URL}/predict", json=batch | {"tasks": [broken, *batch["tasks"]]})
    alone = await client.post(f"{URL}/predict", json=batch | {"tasks": [broken]})

    assert mixed.status_code == 200
    first, second = mixed.json()["results"]
    assert (first.keys(), first["error"]["type"]) == ({"error"}, "unsupported-image")
    assert second["result"]
    assert mixed.json()["tasks"] == {"done": 1, "problem": 1, "not_yet": 0}
    assert alone.status_code == 415


async def test_a_batch_of_which_nothing_is_done_is_refused_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexiseg_service.gateway.admission.limits.BURST_SECONDS", 2000)
    broken = {"data": {"photo": "data:image/png;base64,AAAA"}}
    batch = asked() | {"tasks": [broken] * 4}
    async with adapted("label-studio", rate_limit=0.001) as client:
        answer = await client.post(f"{URL}/predict", json=batch)

    assert (answer.status_code, answer.json()["type"]) == (429, "rate-limited")


async def test_more_tasks_than_a_request_may_have_are_refused(client: httpx.AsyncClient) -> None:
    batch = asked(image="")
    batch["tasks"] = batch["tasks"] * (MAX_TASKS + 1)
    answer = await client.post(f"{URL}/predict", json=batch)

    assert (answer.status_code, "at most 4,096" in answer.json()["detail"]) == (422, True)


async def test_a_batch_has_one_deadline_and_what_is_done_is_returned() -> None:
    batch = asked()
    batch["tasks"] = [*batch["tasks"], {"data": {"photo": "/data/upload/1/a.png"}}, *batch["tasks"]]
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and never answers
        home = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for seconds in (1, 5, 25):  # on a slow machine the first task may take longer than the first of these
            async with adapted("label-studio", deadline_seconds=seconds, label_studio_url=home) as client:
                answer = await client.post(f"{URL}/predict", json=batch)
            first, *others = answer.json()["results"]
            if first.get("result"):
                break

    assert answer.status_code == 200
    assert first["result"]
    assert [one.keys() for one in others] == [{"error"}] * 2
    assert [one["error"]["type"] for one in others] == ["deadline-exceeded"] * 2


def with_labels(labels: str) -> str:
    brush = f'<BrushLabels name="mask" toName="image">{labels}</BrushLabels>'
    return f'<View><Image name="image" value="$image"/>{brush}</View>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected XML"),
        ("<View>", "expected XML"),
        ("\ud800", "expected XML"),
        (with_labels("\udfff"), "expected XML"),
        (with_labels("\x00"), "expected XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><View/>', "expected tags alone"),
        ("<View/>", "expected one of BrushLabels"),
        (CONFIG.replace('value="$photo"', 'valueList="$pages"'), "an Image with `value`, of one picture"),
        ('<View><Image value="$image"/><BrushLabels name="mask"/></View>', "expected one of BrushLabels"),
        (" " * (MAX_CHARACTERS + 1), "expected at most 262,144"),
        (with_labels("<Label/>" * MAX_TAGS), "expected at most 8,192"),
        ("<a>" * (MAX_TAGS // 2) + "</a>" * (MAX_TAGS // 2), "expected one of BrushLabels"),
    ],
)
def test_what_is_no_configuration_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidValue, match=said) as refused:
        control_of(text)
    assert len(refused.value.detail) < 300
