"""Pictures, their labels and corrections stay in the browser, and are reviewed one after the other."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Playwright, Request, Route

from tests import pictures
from tests.integration.playground.asking import (
    CHINA,
    FLOWER,
    add,
    choose,
    choose_many,
    expect_result,
    picture,
    place,
    segments,
    unpacked,
    until_resolved,
    without_heads,
)
from tests.integration.playground.conftest import PHONE, opened, reload, stored
from tests.integration.playground.expect import expect
from tests.integration.server import Server

HELD = """async () => {
    const { state } = await import("/playground/page.js");
    return state.picture.doc.segments.map(({ label, mask }) => ({ label, mask }));
}"""

# Whether the browser has noted answers with what was learned, of all that is not reviewed.
ANSWERED = """async () => {
    const { load } = await import("/playground/project/store.js");
    return (await load()).every(({ doc, taught }) => doc.isReviewed ? taught : JSON.parse(doc.asked).head);
}"""

NOTHING_ASKED = """async () => {
    const { asking } = await import("/playground/question.js");
    return !asking();
}"""

# The file of a name is decoded once `window.release` is called.
DECODED_LATE = """(name) => {
    const { createImageBitmap } = window;
    const released = new Promise((resolve) => (window.release = resolve));
    window.createImageBitmap = async (source, ...rest) => {
        if (source.name === name) await released;
        return createImageBitmap(source, ...rest);
    };
}"""

SCORES = """() => new Promise((resolve) => {
    indexedDB.open("lexiseg-project").onsuccess = ({ target }) => {
        const all = target.result.transaction(["pictures"]).objectStore("pictures").getAll();
        const scores = ({ name, doc }) => [name, doc.segments.map(({ score }) => score)];
        all.onsuccess = () => resolve(all.result.map(scores));
    };
})"""


def strip(page: Page) -> Locator:
    return page.locator("#strip button")


def add_files(page: Page, **files: bytes) -> None:
    choose_many(page, *(picture(f"{name}.jpg", one) for name, one in files.items()))
    expect(strip(page)).to_have_count(len(files))


def test_a_folder_is_shown_in_the_order_of_its_paths(page: Page, tmp_path: Path) -> None:
    names = ["2.jpg", "3.jpg", "9.jpg", "10.jpg", "11.jpg", "more/1.jpg", "more/12.jpg"]
    (tmp_path / "photos/more").mkdir(parents=True)
    for name in [*names[::2], *names[1::2]]:
        (tmp_path / "photos" / name).write_bytes(FLOWER)

    page.set_input_files("#album", tmp_path / "photos")

    expect(strip(page)).to_have_count(len(names))
    assert [one.get_attribute("title") for one in strip(page).all()] == [f"{name}: new" for name in names]


def label_all(page: Page, *words: str) -> None:
    add(page, *words)
    expect_result(page, re.compile(f"ound.*{words[-1]}"))
    page.get_by_role("button", name="Label all").click()
    expect(page.locator("#strip :is(.labelled, .empty)")).to_have_count(strip(page).count())


def held(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(HELD)
    return found


def shown(page: Page) -> str:
    return page.locator("#strip [aria-current=true]").get_attribute("title") or ""


# Whether the browser has noted which picture is shown.
NOTED = """async () => {
    const { state } = await import("/playground/page.js");
    const { read } = await import("/playground/project/store.js");
    return (await read("shown")) === state.picture.key;
}"""


def kill(context: BrowserContext, profile: Path) -> None:
    """End the browser of a profile as a crash does."""
    with context.expect_event("close"):
        for process in psutil.process_iter(["cmdline"]):
            if f"--user-data-dir={profile}" in (process.info["cmdline"] or []):
                process.kill()


def test_neither_a_reload_nor_a_killed_browser_loses_or_asks_anything(
    playwright: Playwright, server: Server, tmp_path: Path
) -> None:
    asked: list[str] = []

    def comes_back(page: Page) -> None:
        expect(segments(page)).to_have_count(count)
        assert shown(page) == "one.jpg: reviewed"
        assert held(page) == before
        expect(page.locator("#kept")).to_contain_text("2 pictures, 0.")
        expect(page.locator("#chips li")).to_contain_text(["sky", "flower"])
        strip(page).nth(1).click()
        expect_result(page, "flower")
        strip(page).first.click()
        expect(page.locator("#strip [aria-current=true]")).to_have_attribute("title", "one.jpg: reviewed")
        assert asked == []

    with stored(playwright, tmp_path) as context:
        page = opened(context, server.url)
        add_files(page, one=CHINA, two=FLOWER)
        label_all(page, "sky", "flower")
        page.get_by_role("button", name="Correct sky").click()
        page.check("[name=sign][value=brush]")
        page.mouse.click(*place(page, 320, 350))
        page.keyboard.press("a")
        expect(page.locator("#strip [aria-current=true]")).to_have_attribute("title", "two.jpg: labelled")
        expect(page.locator("#learned")).to_contain_text("Learned from 1")
        until_resolved(page, ANSWERED)
        page.keyboard.press("PageUp")
        expect(page.locator("#strip [aria-current=true]")).to_have_attribute("title", "one.jpg: reviewed")
        before, count = held(page), segments(page).count()
        page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/segment") else None)
        reload(page)
        comes_back(page)
        until_resolved(page, NOTED)
        kill(context, tmp_path)

    with stored(playwright, tmp_path) as context:
        context.on("request", lambda request: asked.append(request.url) if request.url.endswith("/segment") else None)
        page = opened(context, server.url)
        comes_back(page)
        page.get_by_role("button", name="Undo").click()
        expect(page.locator("#strip [aria-current=true]")).to_have_attribute("title", "one.jpg: labelled")


@pytest.mark.parametrize("asks", ["the page", "Label all"])
def test_an_answer_that_comes_after_a_picture_was_accepted_changes_nothing(
    context: BrowserContext, server: Server, asks: str
) -> None:
    without_heads(context)  # a new one would end the question
    page = opened(context, server.url)
    add_files(page, one=CHINA, two=FLOWER)
    page.check("[name=sign][value=brush]")
    page.mouse.click(*place(page, 320, 350))
    expect(segments(page)).to_have_count(1)
    painted = held(page)
    page.evaluate(DECODED_LATE, "two.jpg")
    late: list[Route] = []
    context.route("**/v1/segment", lambda route: late.append(route))
    with page.expect_request("**/v1/segment"):
        add(page, "sky")
    if asks == "Label all":
        with page.expect_request("**/v1/segment"):
            page.get_by_role("button", name=asks).click()
    page.focus("#canvas")
    page.keyboard.press("a")

    context.unroute("**/v1/segment")
    for route in late:
        route.continue_()
    expect(page.locator("#progress")).to_be_hidden()
    until_resolved(page, NOTHING_ASKED)

    assert held(page) == painted
    page.evaluate("window.release()")
    expect(strip(page).nth(1)).to_have_attribute("aria-current", "true")


def test_a_page_that_hangs_the_moment_it_shows_a_picture_comes_back_with_it(
    context: BrowserContext, page: Page, server: Server
) -> None:
    add_files(page, one=CHINA, two=FLOWER)
    strip(page).nth(1).click()
    expect(page.locator("#strip [aria-current=true]")).to_have_attribute("title", "two.jpg: new")
    page.evaluate("""() => new MutationObserver(() => { console.log("shown"); for (;;); }).observe(
        document.querySelector("#strip button"), { attributeFilter: ["aria-current"] })""")

    with page.expect_console_message():
        strip(page).first.click(no_wait_after=True)
    page.close()

    again = opened(context, server.url)
    expect(again.locator("body.shows")).to_be_attached()
    assert shown(again) == "one.jpg: new"


def test_what_one_tab_erases_comes_back_in_no_other(page: Page, context: BrowserContext, server: Server) -> None:
    add_files(page, one=CHINA, two=FLOWER)
    other = opened(context, server.url)
    expect(strip(other)).to_have_count(2)
    page.on("dialog", lambda dialog: dialog.accept())

    strip(page).first.press("Delete")

    expect(strip(page)).to_have_count(1)
    expect(strip(other)).to_have_count(1)
    add(other, "flower")
    expect_result(other, "Found flower.")
    reload(page)
    expect(strip(page)).to_have_count(1)
    expect_result(page, "Found flower.")


def test_a_new_picture_after_a_reviewed_one_is_not_called_reviewed(page: Page) -> None:
    add_files(page, one=CHINA, two=CHINA)
    page.keyboard.press("a")
    strip(page).first.click()
    expect(page.locator("#accepted")).to_be_visible()
    page.get_by_role("button", name="New picture or clip").click()
    expect(page.locator("#strip [aria-current=true]")).to_have_count(0)
    expect(page.locator("#strip [tabindex='0']")).to_have_attribute("title", "one.jpg: reviewed")

    choose(page, FLOWER, "flower.jpg")

    expect(page.locator("#strip [aria-current=true]")).to_have_attribute("title", "flower.jpg: new")
    expect(page.locator("#accepted")).to_be_hidden()
    expect(page.get_by_role("button", name="Reject")).to_be_visible()


def test_the_doubtful_come_first_and_are_accepted_also_where_nothing_is_taught(
    context: BrowserContext, server: Server
) -> None:
    without_heads(context)  # what is learned changes the order
    page = opened(context, server.url)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    add_files(page, one=CHINA, two=FLOWER, three=CHINA)
    label_all(page, "sky", "flower")
    scores = page.evaluate(SCORES)
    wanted = [name for name, some in sorted(scores, key=lambda one: min([*one[1], 1.0]))]

    page.check("#doubtful")

    for _ in range(2):  # the second time after a reload
        expect(page.locator("#strip [aria-current=true]")).to_have_attribute("title", f"{wanted[0]}: labelled")
        assert [(one.get_attribute("title") or "").partition(":")[0] for one in strip(page).all()] == wanted
        reload(page)
        expect(page.locator("#doubtful")).to_be_checked()
    page.get_by_role("button", name="Accept", exact=True).click()
    for name in wanted[1:]:
        expect(page.locator("#strip [aria-current=true]")).to_have_attribute("title", f"{name}: labelled")
        page.keyboard.press("a")
    expect(page.locator("#note")).to_have_text("All 3 pictures are reviewed.")
    expect(page.locator("#teaching")).to_be_hidden()
    assert not [url for url in asked if "/v1/heads" in url]


def test_three_pictures_show_whether_the_words_succeed_and_a_key_leads_to_those_where_they_do_not(page: Page) -> None:
    add_files(page, one=CHINA, two=FLOWER, three=CHINA, four=CHINA, five=FLOWER)
    add(page, "building")
    expect_result(page, "Found building")

    page.get_by_role("button", name="Label three").click()

    expect(page.locator("#note")).to_contain_text("3 of 3 pictures are labelled.")
    expect(page.locator("#strip .new")).to_have_attribute("title", "three.jpg: new")
    expect(page.locator("#counts")).to_have_text("building in 2")
    page.get_by_role("button", name="Label all").click()
    expect(page.locator("#note")).to_contain_text("5 of 5 pictures are labelled.")
    page.check("#doubtful")
    expect(strip(page).last).to_have_attribute("title", "five.jpg: empty")
    expect(strip(page).first).to_have_attribute("aria-current", "true")

    page.keyboard.press("Shift+PageDown")

    expect(page.locator("#strip [aria-current=true]")).to_have_attribute("title", "two.jpg: empty")
    expect_result(page, "Not found: building.")


def test_what_is_begun_while_pictures_are_added_waits_for_all_of_them(page: Page) -> None:
    n_pictures = 8
    add(page, "flower")
    page.evaluate(DECODED_LATE, "3.png")
    content = pictures.encoded(pictures.small("flower", 64), "PNG")
    choose_many(page, *(picture(f"{number}.png", content) for number in range(n_pictures)))
    expect(strip(page)).to_have_count(3)

    page.get_by_role("button", name="Label all").click()
    expect(page.locator("#note")).to_have_text("Labelling begins after what runs now.")
    page.evaluate("window.release()")

    assert sum(name.startswith("images/") for name in unpacked(page, "#export-project")) == n_pictures
    expect(page.locator("#strip :is(.labelled, .empty)")).to_have_count(n_pictures)


def test_pictures_added_while_others_are_labelled_end_nothing(page: Page) -> None:
    add_files(page, **{f"number-{number}": CHINA for number in range(4)})
    add(page, "sky")
    expect_result(page, "Found sky")
    page.get_by_role("button", name="Label all").click()

    choose_many(page, picture("late.jpg", FLOWER))

    expect(page.locator("#note")).to_contain_text("1 of 1 pictures are added.")
    expect(page.locator("#strip .labelled")).to_have_count(4)
    expect(page.locator("#strip .new")).to_have_attribute("title", "late.jpg: new")


def test_a_picture_chosen_before_the_project_is_open_is_added_to_it_once(
    context: BrowserContext, page: Page, server: Server
) -> None:
    add_files(page, one=CHINA, two=FLOWER)
    page.close()
    again = context.new_page()
    # The database answers after a file was chosen.
    again.add_init_script(
        """(() => {
            const chosen = new Promise((resolve) => (window.choose = resolve));
            const later = (act) => async () => {
                await chosen;
                act();
            };
            Object.defineProperty(IDBTransaction.prototype, "oncomplete", {
                set(act) { this.addEventListener("complete", later(act)); },
            });
        })()"""
    )
    again.goto(server.url)
    choose(again, name="three.jpg")
    expect(strip(again)).to_have_count(1)

    again.evaluate("window.choose()")
    again.locator("body[data-ready]").wait_for()

    expect(strip(again)).to_have_count(3)
    titles = [one.get_attribute("title") or "" for one in strip(again).all()]
    assert [title.partition(":")[0] for title in titles] == ["one.jpg", "two.jpg", "three.jpg"]
    assert shown(again) == "three.jpg: new"


def test_the_project_opens_before_the_engine_answers(context: BrowserContext, page: Page, server: Server) -> None:
    add_files(page, one=CHINA, two=FLOWER)
    label_all(page, "sky")
    page.close()
    again = context.new_page()
    held_back: list[Route] = []
    again.route("**/v1/models", lambda route: held_back.append(route))

    again.goto(server.url)

    expect(segments(again)).to_have_count(1)
    expect(again.locator("#empty")).to_be_hidden()
    assert again.locator("body[data-ready]").count() == 0
    asked: list[Request] = []
    again.on("request", lambda request: asked.append(request) if request.url.endswith("/segment") else None)
    held_back[0].continue_()
    again.locator("body[data-ready]").wait_for()
    expect_result(again, "Found sky")
    assert asked == []


def test_what_is_reviewed_is_not_asked_about_again(page: Page, context: BrowserContext) -> None:
    without_heads(context)  # a new one has other pictures asked again
    add_files(page, one=CHINA, two=CHINA)
    label_all(page, "sky")
    page.focus("#canvas")
    page.keyboard.press("a")
    expect(page.locator("#strip .reviewed")).to_have_count(1)
    expect(strip(page).nth(1)).to_have_attribute("aria-current", "true")

    add(page, "tree")
    expect_result(page, "Found sky, tree")
    until_resolved(page, NOTHING_ASKED)
    strip(page).first.click()

    expect_result(page, "Found sky.")
    page.get_by_role("button", name="Label all").click()
    expect(page.locator("#note")).to_have_text("All pictures are labelled with these words.")


def test_the_strip_is_one_stop_of_the_tab_key_and_a_new_picture_moves_no_other(page: Page) -> None:
    add_files(page, one=CHINA, two=FLOWER)
    page.evaluate(
        """() => {
            window.moved = 0;
            const count = (changes) => changes.forEach(({ removedNodes }) => (moved += removedNodes.length));
            new MutationObserver(count).observe(document.getElementById("strip"), { childList: true });
        }"""
    )
    choose_many(page, picture("three.jpg"))
    expect(strip(page)).to_have_count(3)

    assert page.evaluate("moved") == 0
    assert page.locator("#strip [tabindex='0']").count() == 1
    strip(page).first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#strip [aria-current=true]")).to_have_attribute("title", "two.jpg: new")


def test_a_storage_that_fails_is_told_and_the_picture_goes_on(page: Page) -> None:
    for fault, sentence in (
        ("QuotaExceededError", "The storage of this browser is full: export the project, then erase it."),
        ("InvalidStateError", "The storage of this browser does not answer: reload the page."),
    ):
        page.evaluate(
            """(fault) => {
                IDBObjectStore.prototype.put = () => {
                    throw new DOMException("no room", fault);
                };
            }""",
            fault,
        )
        choose_many(page, picture("one.jpg"))
        expect(page.locator("#note")).to_contain_text(f"one.jpg is not kept in this browser. {sentence}")
    add(page, "sky")
    expect(segments(page)).to_have_count(1)


def test_a_database_that_did_not_open_is_opened_again(context: BrowserContext, server: Server) -> None:
    context.add_init_script(
        """(() => {
            const { open } = IDBFactory.prototype;
            if (sessionStorage.getItem("tried")) return;
            IDBFactory.prototype.open = () => {
                IDBFactory.prototype.open = open;
                sessionStorage.setItem("tried", "yes");
                throw new DOMException("the disk is busy", "UnknownError");
            };
        })()"""
    )
    page = opened(context, server.url)
    add_files(page, one=CHINA)
    expect(page.locator("#note")).to_contain_text("1 of 1 pictures are added.")

    page.reload()

    expect(page.locator("#strip [aria-current=true]")).to_have_attribute("title", "one.jpg: new")


@pytest.mark.parametrize("tab", ["Picture", "Video"])
def test_erasing_leaves_nothing(page: Page, tab: str) -> None:
    add_files(page, one=CHINA, two=FLOWER)
    page.get_by_role("radio", name=tab).check()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Erase").click()
    expect(strip(page)).to_have_count(0)
    page.get_by_role("radio", name="Picture").check()
    expect(page.locator("#empty")).to_be_visible()

    reload(page)

    expect(strip(page)).to_have_count(0)
    expect(page.locator("#empty")).to_be_visible()


def test_what_cannot_be_erased_is_told_and_a_button_erases_it(page: Page) -> None:
    add_files(page, one=CHINA)
    page.on("dialog", lambda dialog: dialog.accept())
    page.evaluate(
        """() => {
            const { prototype } = IDBObjectStore, { delete: before } = prototype;
            prototype.delete = () => {
                prototype.delete = before;
                throw new DOMException("the disk is busy", "UnknownError");
            };
        }"""
    )
    page.get_by_role("button", name="Erase").click()
    expect_result(page, "The storage of this browser does not answer")

    page.get_by_role("button", name="Retry now").click()

    until_resolved(page, "async () => !(await (await import('./playground/project/store.js')).load()).length")


def test_a_phone_shows_the_strip_within_its_width(screen: Callable[..., Page]) -> None:
    page = screen(**PHONE)
    add_files(page, **{f"number-{number}": CHINA for number in range(8)})

    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = [one.bounding_box() for one in strip(page).all()[:3]]
    assert all(box and box["height"] >= 24 for box in boxes)


def test_the_question_of_the_address_goes_before_the_project_s(
    context: BrowserContext, page: Page, server: Server
) -> None:
    add_files(page, one=CHINA)
    label_all(page, "sky")
    page.close()

    question = json.dumps({"classes": ["tree"]})
    again = opened(context, f"{server.url}/#{question}")

    expect(again.locator("#chips li")).to_have_text(re.compile("tree"))
    expect_result(again, "Found tree")
