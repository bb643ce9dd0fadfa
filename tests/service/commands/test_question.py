"""Points and boxes of the command line, and the errors of wrong ones."""

import pytest
import typer

from lexiseg_service.commands.question import read_prompts


def test_each_point_and_each_box_is_a_prompt_of_its_own() -> None:
    found = read_prompts(["120,80", "3.5,.25"], ["10,20,200.5,180"], [])

    assert found == [
        {"points": [{"x": 120.0, "y": 80.0, "positive": True}]},
        {"points": [{"x": 3.5, "y": 0.25, "positive": True}]},
        {"box": [10.0, 20.0, 200.5, 180.0]},
    ]


def test_the_parts_of_a_prompt_are_one_object() -> None:
    (found,) = read_prompts([], [], ["120,80  130,90 -40,60 10,20,200,180"])

    assert found == {
        "points": [
            {"x": 120.0, "y": 80.0, "positive": True},
            {"x": 130.0, "y": 90.0, "positive": True},
            {"x": 40.0, "y": 60.0, "positive": False},
        ],
        "box": [10.0, 20.0, 200.0, 180.0],
    }


@pytest.mark.parametrize(
    ("given", "hint", "said"),
    [
        ((["120;80"], [], []), "--point", "expected X,Y in pixels, as 120,80; got '120;80'"),
        ((["120,80,3"], [], []), "--point", "expected X,Y"),
        ((["nan,80"], [], []), "--point", "expected X,Y"),
        ((["120, 80"], [], []), "--point", "expected X,Y"),
        ((["-40,60"], [], []), "--point", "a point beside the object goes with one on it"),
        (([], ["10,20,200"], []), "--box", "expected LEFT,TOP,RIGHT,BOTTOM in pixels, as 10,20,200,180; got"),
        (([], ["10,20,200,-5"], []), "--box", "expected LEFT,TOP,RIGHT,BOTTOM"),
        (([], [], [" "]), "--prompt", "expected points X,Y on the object"),
        (([], [], ["120,80 1,2,3"]), "--prompt", "got '1,2,3'"),
        (([], [], ["1,2,3,4 5,6,7,8"]), "--prompt", "at most one box"),
        (([], [], ["-1,2,3,4"]), "--prompt", "expected points"),
        (([], ["200,20,100,30"], []), "--box", "with LEFT < RIGHT and TOP < BOTTOM; got '200,20,100,30'"),
        (([], ["10,20,30,20"], []), "--box", "LEFT < RIGHT and TOP < BOTTOM"),
        (([], [], ["120,80 10,20,5,30"]), "--prompt", "LEFT < RIGHT and TOP < BOTTOM"),
        (([], [], ["-1,2 -3,4"]), "--prompt", "at least one point X,Y on the object"),
    ],
)
def test_anything_else_is_named_with_what_was_expected(
    given: tuple[list[str], list[str], list[str]], hint: str, said: str
) -> None:
    with pytest.raises(typer.BadParameter) as caught:
        read_prompts(*given)

    assert caught.value.param_hint == f"'{hint}'"
    assert said in caught.value.message
