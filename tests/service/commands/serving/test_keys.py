from pathlib import Path

from lexiseg_service.gateway.admission.access import Keys
from lexiseg_service.settings import Settings
from tests.service.commands.command_line import CommandLine


def test_the_line_goes_to_the_file_and_the_key_to_the_eyes(lexiseg: CommandLine, tmp_path: Path) -> None:
    outcome = lexiseg("keys", "new", "camera-7")
    (tmp_path / "keys.txt").write_text(outcome.out)
    key = next(word for word in outcome.err.split() if word.startswith("lexiseg_"))

    assert outcome.status == 0
    assert Keys(Settings(api_keys_file=tmp_path / "keys.txt")).identify(key) == "camera-7"
    assert key not in outcome.out


def test_without_a_scope_a_key_is_a_tenants(lexiseg: CommandLine) -> None:
    scopes = {words: lexiseg("keys", "new", "lab", *words).out.split()[2:] for words in ((), ("--scope", "admin"))}

    assert scopes == {(): ["segment+vocabularies"], ("--scope", "admin"): ["admin"]}
