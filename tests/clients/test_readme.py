"""The examples of the client's README, run against a real server."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests import pictures
from tests.integration.server import ROOT, Server

README = ROOT / "clients/python/README.md"


def test_the_examples_of_the_readme_run(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "cat.jpg").write_bytes(pictures.encoded(pictures.small("chelsea", 320), "JPEG"))
    monkeypatch.chdir(tmp_path)
    target = server.grpc
    names: dict[str, Any] = {}

    try:
        for example in examples:
            code = example.replace("localhost:50051", target)
            # A reader's server has gRPC on its usual port; this one is on any free one.
            code = code.replace('Client("http://localhost:8000"', f'Client("{server.url}", grpc_target="{target}"')
            exec(compile(code, README.name, "exec"), names)
    finally:
        names["client"].close()

    said = capsys.readouterr().out
    assert len(examples) == 13
    assert re.match(r"cat [01]\.\d", said)
    assert "cat 1 False\n" not in said  # after the first example the image is known
    for word in ("threshold", "unknown-model", "somebody has changed it", "second [('cat', 1)]", "True ['tiny"):
        assert word in said, word
    assert (tmp_path / "photos-coco/annotations/instances_default.json").is_file()
    assert {path.name for path in (tmp_path / "masks").iterdir()} >= {"1-cat.png"}
