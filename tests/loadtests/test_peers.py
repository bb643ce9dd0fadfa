"""The server that lexiseg is measured against without frameworks."""

import pytest

from benchmarks.serving import CLASSES, MIN_EQUAL, class_map, owners_of, photograph
from tests.integration.server import Server


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools
def test_the_plain_peer_answers_as_lexiseg_does(server: Server) -> None:
    from loadtests.peers.plain_fastapi import segment  # loads the model

    answer = segment(photograph(), list(CLASSES))

    assert (owners_of(answer["segments"]) == class_map(server.url)).mean() >= MIN_EQUAL
