"""Classes by example over REST, with the bundled model."""

import base64
from typing import Any

import httpx
import numpy as np

from tests import coco
from tests.integration.rest.test_rest import answered, ask, photograph

SKY = {"box": [20, 5, 300, 50]}  # of `china`, a strip above the roofs


def ask_json(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    return answered(client.post("/segment", json=fields))


def encoded(name: str) -> dict[str, str]:
    return {"base64": base64.b64encode(photograph(name)).decode()}


def by_example(name: str, *examples: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "examples": list(examples), **more}


def iou(one: dict[str, Any], other: dict[str, Any]) -> float:
    first, second = coco.decode(one["mask"]).astype(bool), coco.decode(other["mask"]).astype(bool)
    return float((first & second).sum() / (first | second).sum())


def segment_of(answer: dict[str, Any], label: str) -> dict[str, Any]:
    (found,) = [segment for segment in answer["segments"] if segment["label"] == label]
    return dict(found)


def test_a_box_of_the_same_image_finds_what_its_word_finds(client: httpx.Client) -> None:
    words = ask(client, photograph("china"), "sky", "building", "tree")

    shown = ask_json(client, image=encoded("china"), classes=[by_example("above", SKY), "building", "tree"])

    assert iou(segment_of(shown, "above"), segment_of(words, "sky")) > 0.7


def test_an_example_in_a_photograph_sent_before_is_found_in_another(client: httpx.Client) -> None:
    sent = ask(client, photograph("china"), "sky")
    example = {"image": {"id": sent["image_id"]}, **SKY}

    answer = ask_json(client, image=encoded("rocket"), classes=[by_example("above", example), "rocket"])

    words = ask(client, photograph("rocket"), "sky", "rocket")
    assert iou(segment_of(answer, "above"), segment_of(words, "sky")) > 0.3  # by day there, at night here


def test_points_a_mask_and_negatives_are_examples_too(client: httpx.Client) -> None:
    words = ask(client, photograph("china"), "sky", "building", "tree")
    mask = segment_of(words, "sky")["mask"]
    click = {"points": [{"x": 100, "y": 20}]}

    for example in (click, {"mask": mask}):
        shown = by_example("above", example, negatives=[{"box": [60, 110, 260, 180]}])
        answer = ask_json(client, image={"id": words["image_id"]}, classes=[shown, "building"])
        assert answer["cache"]["features"] is True
        found = segment_of(answer, "above")
        # A lone click may mean anything around it.
        assert "points" in example or iou(found, segment_of(words, "sky")) > 0.6


def test_a_vocabulary_keeps_examples_when_their_photograph_is_gone(client: httpx.Client) -> None:
    image = encoded("china")
    large = {"box": [20, 5, 300, 50], "image": image}
    kept = client.put("/vocabularies/above", json={"classes": [by_example("above", large), "building"]})

    assert kept.status_code == 201, kept.text
    (example,) = kept.json()["classes"][0]["examples"]
    assert example["image"]["base64"] != image["base64"]
    answer = ask(client, photograph("rocket"), vocabulary="above")
    assert {segment["label"] for segment in answer["segments"]} <= {"above", "building"}
    assert segment_of(answer, "above")["area"] > 0
    again = client.put("/vocabularies/again", json={"classes": kept.json()["classes"]})
    assert again.status_code == 201, again.text


def test_everything_answers_with_neither_words_nor_prompts_and_words_name_it_later(client: httpx.Client) -> None:
    everything = ask(client, photograph("coffee"), task="everything")

    assert everything["task"] == "everything"
    qualities = [segment["quality"] for segment in everything["segments"]]
    assert len(qualities) > 1
    assert qualities == sorted(qualities, reverse=True)
    assert all(
        segment["label"] is None and segment["score"] == segment["quality"] for segment in everything["segments"]
    )
    assert all(np.sum(coco.decode(segment["mask"])) == segment["area"] for segment in everything["segments"])

    named = ask_json(client, image={"id": everything["image_id"]}, task="everything", classes=["cup", "table"])

    assert [segment["area"] for segment in named["segments"]] == [s["area"] for s in everything["segments"]]
    assert (named["cache"]["features"], named["timings_ms"]["image"]) == (True, 0)
    assert {segment["label"] for segment in named["segments"]} & {"cup", "table"}
