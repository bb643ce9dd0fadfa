"""What the list of models says that ran here."""

import pytest

from lexiseg_model.catalogue import available as module
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.available import available


@pytest.mark.parametrize(
    ("run", "equal", "says"),
    [
        ({"code": "net 1.2", "day": "2026-11-30", "difference": 9e-5}, "yes", "9.0e-05 of the largest value, net 1.2"),
        ({"code": "net 1.2", "day": "2026-11-30", "difference": 2e-4}, "no", "2.0e-04 of the largest value, net 1.2"),
        ({"reason": "a/b is no package"}, "not compared", "a/b is no package"),
    ],
)
def test_a_forward_pass_is_equal_by_a_run_of_the_released_code_and_by_nothing_else(
    run: dict[str, object], equal: str, says: str
) -> None:
    compared = module._compared(run)

    assert compared["forward_equal"] == equal
    assert compared["comparison"].startswith(says)


@pytest.mark.parametrize("name", available())
def test_a_model_ran_on_its_authors_weights_only_where_these_are_here(name: str) -> None:
    entry = available()[name]
    weights_are_here = entry.download_mb == 0 and any(catalogue.bundled()[name].glob("*.safetensors"))

    assert entry.proven == ("yes" if weights_are_here else "not yet")
    assert (entry.check_of is not None) == weights_are_here
