"""What goes wrong is said on the page, and the page goes on."""

import json
import re
from urllib.parse import quote

import pytest
from playwright.sync_api import BrowserContext, FilePayload, Page, Route

from lexiseg_service.errors import QueueFull
from tests import pictures
from tests.integration.playground.asking import (
    add,
    ask,
    choose,
    choose_many,
    expect_result,
    picture,
    place,
    segments,
    until,
)
from tests.integration.playground.conftest import opened, reload
from tests.integration.playground.expect import expect
from tests.integration.playground.test_following import play, show
from tests.integration.server import Server
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import on_ports


def test_a_file_that_is_no_picture_or_too_small_is_named(page: Page) -> None:
    choose(page, b"no picture", "notes.jpg")

    expect_result(page, "notes.jpg is not a picture")
    choose(page, b"", "empty.jpg")
    expect_result(page, "empty.jpg is empty")
    choose(page, b"no picture", "notes.heic")  # the service may know better
    expect_result(page, "notes.heic: image: the first bytes are of no image type that is taken")
    choose(page, pictures.encoded(pictures.photograph("china").resize((12, 8)), "PNG"), "dot.png")
    expect_result(page, "dot.png has 12 x 8 pixels; the service takes sides of at least 16.")


@pytest.mark.parametrize(("mode", "card"), [("Picture", "#sample"), ("Picture", "#lesson"), ("Video", "#pan")])
def test_an_example_without_its_photograph_is_told(page: Page, mode: str, card: str) -> None:
    page.get_by_role("radio", name=mode).check()
    until(page, f"document.querySelector('{card} img').naturalWidth > 0")
    page.route("**/playground/*.jpg", lambda route: route.fulfill(status=404))

    page.click(card)

    expect_result(page, "The photograph of this example is not installed with this service.")
    expect(page.locator("#chips li")).to_have_count(0)
    page.unroute_all()
    page.click(card)
    expect(page.locator("#chips li").first).to_be_visible()


def test_the_first_screen_shows_the_photographs_that_there_are(page: Page) -> None:
    page.route(re.compile("/playground/(coins|cat|astronaut|rocket).jpg"), lambda route: route.fulfill(status=404))
    reload(page)
    expect(page.locator("#examples button:visible")).to_have_count(1)
    shown = page.locator("#sample img").bounding_box()
    assert shown is not None
    assert shown["height"] > 100

    page.route("**/playground/*.jpg", lambda route: route.fulfill(status=404))
    reload(page)

    expect(page.get_by_text("Or try one of these")).to_be_hidden()


def test_a_word_that_is_refused_is_named(page: Page) -> None:
    choose(page)
    add(page, "sky", "x" * 200)

    expect_result(page, f"{'x' * 24}…: expected at most 128")
    chip, panel = page.locator("#chips li").last.bounding_box(), page.locator("#panel").bounding_box()
    assert chip is not None
    assert panel is not None
    assert chip["x"] + chip["width"] < panel["x"] + panel["width"]


def test_why_a_click_is_refused_stays_where_the_next_one_is_answered(page: Page) -> None:
    def refuse(route: Route) -> None:
        page.mouse.click(*place(page, 400, 300))
        route.fulfill(status=422, json={"detail": "a reason"})

    ask(page, "sky")
    page.route("**/v1/segment", refuse, times=1)

    page.mouse.click(*place(page, 150, 300))

    expect_result(page, "Cut out 1 object")
    expect(page.locator("#note")).to_have_text("a reason")


def test_why_a_head_is_refused_stays_where_pictures_come_with_it(page: Page) -> None:
    head = FilePayload(name="theirs.head", mimeType="", buffer=b"rubbish")

    choose_many(page, head, picture("china.jpg"))

    expect_result(page, re.compile("expected a head"))
    expect(page.locator("#strip .new")).to_have_count(1)


def test_what_is_no_text_in_a_link_is_left_out_and_the_page_goes_on(context: BrowserContext, server: Server) -> None:
    words = ["sky", 5, None, ["a"], {"name": {"a": 1}}, {"name": "tree", "synonyms": 5}]
    page = opened(context, f"{server.url}/#{quote(json.dumps({'classes': words, 'model': {'toString': 1}}))}")
    choose(page)

    add(page, "building")

    expect(page.locator("#chips li")).to_have_text([re.compile(word) for word in ("sky", "tree", "building")])
    expect_result(page, "Found sky")


def test_many_warnings_of_a_kind_are_one_line(page: Page) -> None:
    choose(page)
    add(page, "qwrtz, zxcvb, yxcvm, ghjkl")

    expect(page.locator("#warnings li")).to_have_count(1)
    expect(page.locator("#warnings")).to_contain_text("The same holds for 3 more.")


def test_a_word_of_another_language_is_warned_of_until_it_goes_and_only_what_it_marks_is_called_a_guess(
    page: Page,
) -> None:
    choose(page)
    add(page, "Hund")

    expect_result(page, "Not found: Hund")
    warning = page.get_by_role("list", name="Warnings").get_by_role("listitem")
    expect(warning).to_contain_text("'Hund' does not look like an English word")
    expect(warning).not_to_contain_text("guess")
    add(page, "sky")
    expect_result(page, re.compile("Found .*sky"))
    expect(warning).to_be_in_viewport()
    result, beneath = segments(page).last.bounding_box(), warning.bounding_box()
    assert result is not None
    assert beneath is not None
    assert result["y"] < beneath["y"]
    page.locator("#more > summary").click()
    page.uncheck("#background")
    expect_result(page, re.compile("Found .*Hund"))
    expect(warning).to_contain_text("What it marks is a guess.")
    page.locator("#chips button").first.click()
    expect(warning).to_have_count(0)


def test_a_server_that_is_gone_is_told_and_asked_again(page: Page, context: BrowserContext) -> None:
    ask(page, "sky")
    context.set_offline(True)
    add(page, "tree")
    expect_result(page, "The server does not answer")
    expect(segments(page)).to_have_count(1)  # the last answer stays

    context.set_offline(False)
    page.locator("#chips button").last.click()

    expect_result(page, "Found sky")


def test_an_example_that_cannot_be_loaded_is_told(page: Page, context: BrowserContext) -> None:
    context.set_offline(True)

    page.locator("#sample").click()

    expect_result(page, "A part of the page cannot be loaded")


def test_a_key_is_asked_for_once_and_jobs_that_are_off_never(context: BrowserContext, locked: Server) -> None:
    page = opened(context, locked.url)
    expect_result(page, "The service asks for an API key")
    expect(page.locator("#key")).to_be_focused()
    page.fill("#key", "wrong")
    page.press("#key", "Tab")
    expect_result(page, "The service does not know this API key")
    page.wait_for_timeout(500)  # longer than the pause after a change that is asked about
    expect_result(page, "The service does not know this API key")
    page.fill("#key", "right")
    page.press("#key", "Tab")
    expect(page.locator("#model option")).to_have_count(1)

    again = context.new_page()
    asked: list[str] = []
    again.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    again.goto(locked.url)
    expect(again.locator("#model option")).to_have_count(1)
    with again.expect_response("**/playground/project/jobs.js"):
        again.evaluate("document.getElementById('many').open = true")
    add(again, "sky")
    expect(again.locator("#jobs")).to_be_hidden()  # they are off
    assert "jobs" not in asked


def test_without_a_key_one_is_asked_for_and_then_what_was_shown_is_followed(
    context: BrowserContext, locked: Server
) -> None:
    page = opened(context, locked.url)
    play(page)
    show(page, 0)
    expect_result(page, "The service asks for an API key")
    expect(page.locator("#key")).to_be_focused()

    page.fill("#key", "right")
    page.press("#key", "Tab")

    expect_result(page, "Following object 1.")


def test_a_picture_beyond_the_limits_is_shrunk_and_that_is_told(context: BrowserContext, locked: Server) -> None:
    page = opened(context, locked.url)
    page.fill("#key", "right")
    page.press("#key", "Tab")
    choose(page)
    expect(page.locator("#note")).to_contain_text("larger than the 32,768 bytes that the service takes: it is sent at")
    with page.expect_response("**/v1/segment") as answered:
        add(page, "sky")

    height, width = answered.value.json()["size"]
    expect(page.locator("#note")).to_contain_text(f"{width} x {height} pixels")
    expect_result(page, "sky")


CAMERA_FAILS = """(error) => {
    navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("none", error); };
}"""


def test_a_camera_that_is_missing_or_refused_is_told(page: Page) -> None:
    for error, told in (
        ("NotAllowedError", "The camera was refused"),
        ("NotFoundError", "There is no camera here"),
        ("NotReadableError", "Another program"),
    ):
        page.evaluate(CAMERA_FAILS, error)
        page.click("#camera")
        expect_result(page, told)

    page.evaluate("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    page.click("#camera")
    expect_result(page, "The camera needs https")


LONG = 50  # seconds; the page waits for no more than 60 by itself
# In the same moment: the page says that it will ask again, and has a button for whoever does not want to wait.
TOLD = """/^The service is busy: .+\\. Asking again in \\d+ s\\.$/.test(document.getElementById("result").textContent)
    && document.getElementById("again").checkVisibility()"""


def test_a_full_queue_is_told_and_asked_again_once_it_may_be_or_a_button_is_pressed(context: BrowserContext) -> None:
    backend = KnownBackend()
    with on_ports(backend) as ports:
        page = opened(context, ports.url)

        def refuse(word: str, seconds: int) -> None:
            """Have a question with one more word refused, to be asked again in so many seconds."""
            backend.failure = QueueFull("63 are waiting", seconds)
            add(page, word)
            until(page, TOLD)
            backend.failure = None

        choose(page)
        add(page, "sky")
        expect_result(page, "Found sky")
        refuse("building", 1)
        expect(page.locator("#again")).to_be_hidden()  # nobody has touched anything
        expect_result(page, "Found sky")
        refuse("trees", LONG)
        with page.expect_request("**/v1/segment", timeout=1e3 * LONG / 3):  # long before the page would ask by itself
            page.click("#again")
        expect_result(page, "Found sky")
        refuse("water", LONG)

        while page.locator("#chips button").count():
            page.locator("#chips button").last.click()

        expect_result(page, "Type a word")  # a changed question is not asked as it was
        expect(page.locator("#again")).to_be_hidden()
