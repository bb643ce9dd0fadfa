"""`lexiseg vocabularies ...`: back up and restore users' vocabularies."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from lexiseg_model.command_line.options import Grouped, write_text
from lexiseg_service.commands.options import takes_settings
from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import Settings

if TYPE_CHECKING:
    from lexiseg_service.records.documents import Documents

T = TypeVar("T")
ANY_NAME = "x"

vocabularies = typer.Typer(
    help="Back up and restore users' vocabularies.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@vocabularies.command(cls=Grouped)
@takes_settings("vocabularies")
def save(
    file: Annotated[Path, typer.Argument(help="The file to write; - is the standard output")], settings: Settings
) -> None:
    """Write the vocabularies of all keys, with their owners, to a JSON file.

    Examples:

      lexiseg vocabularies save vocabularies.json --redis-url redis://:password@cache:6379/0

      kubectl exec deployment/lexiseg-gateway -- lexiseg vocabularies save - > vocabularies.json
    """

    async def read(store: Documents) -> dict[str, bytes]:
        await store.read(ANY_NAME)  # fails if Redis is down, where read_all would be empty
        return await store.read_all()

    documents = _in_store(settings, read)
    if not documents:
        raise InvalidValue("there is no vocabulary to save; nothing was written")
    text = json.dumps({name: json.loads(document) for name, document in sorted(documents.items())}, indent=1)
    write_text(file, f"{text}\n")
    typer.echo(f"{len(documents)} vocabularies saved", err=True)


@vocabularies.command(cls=Grouped)
@takes_settings("vocabularies")
def restore(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A file that `save` wrote")],
    settings: Settings,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite those that have changed since")] = False,
) -> None:
    """Restore saved vocabularies; one that exists and differs is kept unless --replace is given.

    Example:  lexiseg vocabularies restore vocabularies.json --redis-url redis://:password@cache:6379/0
    """
    saved = _read(file)

    async def write(store: Documents) -> list[str]:
        differing = []
        for name, document in saved.items():
            current = await store.read(name)
            is_as_saved = current is not None and json.loads(current) == json.loads(document)
            may_write = current is None or replace
            if not is_as_saved and not (may_write and await store.replace(name, current, document)):
                differing.append(name)
        return differing

    differing = _in_store(settings, write)
    typer.echo(f"{len(saved) - len(differing)} of {len(saved)} vocabularies are as saved")
    if differing:
        typer.echo(f"not replaced, they have changed since: {', '.join(differing)} (--replace)", err=True)
        raise typer.Exit(1)


def _read(file: Path) -> dict[str, bytes]:
    """Documents by their name in the store. Raises InvalidValue: `save` did not write the file."""
    from lexiseg_service.gateway.vocabularies.named import encode
    from lexiseg_service.gateway.vocabularies.schemas import StoredVocabulary
    from lexiseg_service.records.documents import SLOT

    try:
        saved = json.loads(file.read_text("utf-8"))
        for name, document in saved.items():
            StoredVocabulary.model_validate(document)
            if not SLOT.fullmatch(name):
                raise ValueError(name)
    except (AttributeError, UnicodeDecodeError, ValueError) as error:
        raise InvalidValue(f"{file}: expected what `lexiseg vocabularies save` wrote ({error})") from None
    return {name: encode(document) for name, document in saved.items()}


def _in_store(settings: Settings, work: Callable[[Documents], Awaitable[T]]) -> T:
    if settings.redis_url is None and settings.state_dir is None:
        raise InvalidValue("expected --redis-url or --state-dir: where the vocabularies are")
    from lexiseg_service.records.documents import VOCABULARIES, open_documents, run_with
    from lexiseg_service.watch.metrics import Metrics

    store = open_documents(VOCABULARIES, settings, Metrics())
    return run_with(store, work(store))
