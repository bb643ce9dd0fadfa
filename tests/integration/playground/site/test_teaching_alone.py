"""The page without a service is taught as the model is without detail, by the same lessons and with the same bits."""

import base64
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, Playwright, Route

from lexiseg_model.abilities import teachable
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.features import InferenceOptions
from lexiseg_model.masks import rle
from lexiseg_model.methods.tiny.settings import TogetherRule
from lexiseg_model.pictures import reader
from lexiseg_model.types import Background, ClassEntry, Rle, Vocabulary
from lexiseg_model.vocabulary import solving
from lexiseg_model.vocabulary.bank import KnownRows, bank_of
from lexiseg_model.vocabulary.heads import RULES, LabelledPicture, Lesson
from tests.integration.playground.asking import add, expect_result
from tests.integration.playground.conftest import opened, reload, stored
from tests.integration.playground.expect import expect
from tests.integration.playground.project.test_teaching import ALBUM, WORD, accept, begin, learned, show, teach_coins

pytestmark = pytest.mark.slow

# What is kept of the head: its classes, lessons, and masks of the pictures; what the kernel learns. Arrays in base64.
KEPT = """async () => {
    const at = (name) => import(new URL(`playground/${name}`, location.href).href);
    const modules = ["project/store.js", "masks/kernel.js", "project/project.js"].map(at);
    const [store, kernel, project] = await Promise.all(modules);
    const [head] = Object.values(await store.read("heads"));
    const lessons = await Promise.all(head.pictures.map(({ part }) => store.read(part)));
    const { numbers } = (await (await fetch("model/model.json")).json()).teaching;
    const names = head.classes.map(({ name }) => name);
    const places = lessons.map(({ classes }) => classes.map((name) => names.indexOf(name)));
    const learned = await kernel.learnedOf(lessons, places, names.length, numbers);
    const text = ({ buffer, byteOffset, byteLength }) =>
        btoa(Array.from(new Uint8Array(buffer, byteOffset, byteLength), (one) => String.fromCharCode(one)).join(""));
    const written = (arrays) => Object.fromEntries(
        Object.entries(arrays).map(([name, value]) => [name, value?.buffer ? text(value) : value]),
    );
    const segments = project.all().map(({ doc }) => doc.segments.map(({ label, mask }) => ({ class: label, mask })));
    return { names, segments, lessons: lessons.map(written), learned: written(learned) };
}"""
SEGMENT = """async (words) => {
    const at = (name) => import(new URL(`playground/${name}`, location.href).href);
    const [engine, page] = await Promise.all(["engine/browser.js", "page.js"].map(at));
    return (await engine.segment(page.state.picture, { classes: words })).segments;
}"""

# What a head of two lessons finds in their picture; words find the class in a third of its cells. `apart` is added to a
# number of each cell of the lessons, which makes the picture unlike them.
FOUND_NEARBY = """async ([word, apart]) => {
    const at = (name) => import(new URL(`playground/${name}`, location.href).href);
    const [store, engine, page] = await Promise.all(["project/store.js", "engine/browser.js", "page.js"].map(at));
    const heads = await store.read("heads");
    const [head] = Object.values(heads);
    const lesson = await store.read(head.pictures[0].part);
    const [index, k] = [lesson.classes.indexOf(word), lesson.classes.length];
    const cells = new Float16Array(lesson.cells.slice().buffer);
    for (let i = 0; i < lesson.labels.length; i++) cells[(i * cells.length) / lesson.labels.length] += apart;
    const text = new Float16Array(lesson.text.length).fill(-1);
    lesson.labels.forEach((label, i) => (text[i * k + index] = label === index && i % 3 === 0 ? 1 : -1));
    const [part, bits] = ["like it", (halves) => new Uint16Array(halves.buffer)];
    await store.note({ [part]: { ...lesson, cells: bits(cells), text: bits(text) } });
    const pictures = ["one", "another"].map((key) => ({ key, part }));
    const classes = [{ name: word, synonyms: [] }];
    const nearby = { ...head, name: "nearby", version: `nearby ${apart}`, classes, pictures };
    await store.note({ heads: { ...heads, nearby } });
    const { segments } = await engine.segment(page.state.picture, { classes: [], head: "nearby" });
    await store.note({ heads });
    return segments.map(({ label }) => label);
}"""

# Begins to teach a head, which is not that of the project, by a copy of the first picture under a key.
TEACH = """async (key) => {
    const at = (name) => import(new URL(`playground/${name}`, location.href).href);
    const [engine, project] = await Promise.all(["engine/browser.js", "project/project.js"].map(at));
    const [picture] = project.all();
    await project.fileOf(picture);
    const objects = picture.doc.segments.map(({ label, mask }) => ({ class: label, mask }));
    const pictures = [{ picture, key, objects, reviewed: [] }];
    window.taught = engine.teach("both", { classes: objects.map((one) => one.class), pictures, remove: [] });
}"""


class Taught(NamedTuple):
    """A page that learned from two of three pictures; what it answered about other words in the first before."""

    page: Page
    before: list[dict[str, Any]]


@pytest.fixture(scope="module")
def taught_twice(playwright: Playwright, site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Taught]:
    def forgetful(route: Route) -> None:
        """The engine keeps fewer pictures encoded than the project has."""
        response = route.fetch()
        before, kept, after = response.text().partition("KEPT_PICTURES = 8")
        assert kept
        route.fulfill(response=response, body=f"{before}KEPT_PICTURES = 1{after}")

    with stored(playwright, tmp_path_factory.mktemp("profile")) as context:
        context.route("**/engine/worker.js", forgetful)
        page = opened(context, site)
        begin(page)
        before = page.evaluate(SEGMENT, ["cup", "table"])
        add(page, "submarine")
        expect_result(page, re.compile("Not found: .*submarine"))
        accept(page)
        learned(page, 1)
        expect(page.locator("#strip .labelled")).to_have_count(2)
        page.get_by_role("button", name="without submarine").click()
        expect_result(page, f"Found {WORD}.")
        accept(page)
        learned(page, 2)
        yield Taught(page, before)


def lesson_of(kept: dict[str, Any]) -> Lesson:
    kinds = {"cells": "<f2", "labels": "<i2", "shares": "<f4", "text": "<f2", "pixels": "u1"}
    arrays = {name: np.frombuffer(base64.b64decode(kept[name]), kind) for name, kind in kinds.items()}
    n = len(arrays["labels"])
    arrays |= {name: arrays[name].reshape(n, -1) for name in ("cells", "text", "pixels")}
    return Lesson(kept["digest"].removesuffix(RULES), tuple(kept["classes"]), **arrays)


def lessons_of_model(own: list[Lesson], segments: list[list[dict[str, Any]]]) -> Iterator[Lesson]:
    """What the same masks teach the model of the same classes, without detail."""
    model = catalogue.load("tiny", device="cpu", runtime="auto")
    for content, objects, names in zip(ALBUM.values(), segments, (each.classes for each in own), strict=False):
        bank = bank_of(model, Vocabulary(tuple(map(ClassEntry, names)), Background()), KnownRows(model))
        rgb = reader.read(content).rgb
        labels = np.full(rgb.shape[:2], len(names), np.int16)
        for each in objects:
            size, counts = each["mask"]["size"], each["mask"]["counts"]
            labels[rle.decode(Rle((size[0], size[1]), counts, 0, (0, 0, 0, 0)))] = names.index(each["class"])
        features = model.encode(rgb, InferenceOptions(teaching=True))
        yield teachable(model).lesson(features, LabelledPicture(labels, names), bank)


def test_a_head_has_the_bits_of_a_head_of_the_model(taught_twice: Taught) -> None:
    kept = taught_twice.page.evaluate(KEPT)

    lessons = [lesson_of(each) for each in kept["lessons"]]
    expected = solving.learn(lessons, kept["names"])
    for name, array in (("directions", expected.directions), ("factors", expected.text), ("iou", expected.iou)):
        assert base64.b64decode(kept["learned"][name]) == array.tobytes()
    for own, other in zip(lessons, lessons_of_model(lessons, kept["segments"]), strict=True):
        assert own.digest == other.digest
        np.testing.assert_array_equal(own.labels, other.labels)
        np.testing.assert_array_equal(own.shares, other.shares)
        assert (own.cells == other.cells).mean() > 0.99
        apart = dict(zip(own.classes, np.abs(own.text - other.text).astype(float).mean(0), strict=True))
        # Of one text, measured against the same background, and raised towards the other word, of more in the model.
        assert apart[WORD] < 0.3 + TogetherRule().raised * apart.get("submarine", 0.0)


def test_words_that_were_not_taught_are_answered_as_before(taught_twice: Taught) -> None:
    page, before = taught_twice
    show(page, "one")

    assert before
    assert page.evaluate(SEGMENT, ["cup", "table"]) == before


@pytest.mark.parametrize(("apart", "found"), [(0, [WORD]), (20, [])])
def test_what_like_pictures_teach_of_a_class_that_words_find_holds_for_such_pictures(
    taught_twice: Taught, apart: int, found: list[str]
) -> None:
    show(taught_twice.page, "one")

    assert taught_twice.page.evaluate(FOUND_NEARBY, [WORD, apart]) == found


def test_what_was_learned_outlives_a_reload_and_goes_with_its_picture(taught_twice: Taught) -> None:
    page = taught_twice.page
    reload(page)
    learned(page, 2)
    show(page, "three")
    expect_result(page, f"Found {WORD}.")
    accept(page)
    learned(page, 3)
    show(page, "three")

    page.get_by_role("button", name="Undo").click()

    learned(page, 2)


def test_what_two_tabs_teach_at_once_is_learned(taught_twice: Taught, site: str) -> None:
    tabs = taught_twice.page, opened(taught_twice.page.context, site)
    for tab in tabs:
        tab.evaluate(TEACH, "first")
    for tab in tabs:
        tab.evaluate("taught")
    for key, tab in zip("ab", tabs, strict=True):
        tab.evaluate(TEACH, key)

    learned = [tab.evaluate("taught.then(({ keys }) => keys, ({ message }) => message)") for tab in tabs]

    tabs[1].close()
    assert sorted(map(len, learned)) == [2, 3]


def test_a_synonym_of_a_word_that_no_picture_shows_counts_after_teaching(taught_twice: Taught) -> None:
    page = taught_twice.page
    add(page, "submarine|cup")

    expect_result(page, re.compile(r"Found [^.]*submarine"))
    page.get_by_role("button", name="without submarine").click()  # the page is that of the other tests
    expect_result(page, f"Found {WORD}.")


def test_a_name_that_objects_have_anyway_is_that_of_no_head(taught_twice: Taught) -> None:
    of_engine = "import(new URL('playground/engine/browser.js', location.href).href)"
    status = f"async () => (await {of_engine}).head('constructor').catch(({{ status }}) => status)"

    assert taught_twice.page.evaluate(status) == 404


def test_the_first_lesson_is_that_of_a_service(context: BrowserContext, site: str) -> None:
    teach_coins(opened(context, site))
