"""`lexiseg keys`."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from lexiseg_service.gateway.admission.keys import line_of, new_key


def new(identity: str, scopes: Sequence[str] = (), limits: Sequence[str] = ()) -> None:
    """Print a new key to stderr, and its line of the key file to stdout, to be appended to the file.

    Raises:
        InvalidValue: the id, a scope or a limit is not as expected.
    """
    key = new_key()
    line = line_of(identity, key, scopes, limits)
    typer.echo(f"The key, for its owner; it is stored nowhere and not shown again:\n  {key}", err=True)
    typer.echo("The line for LEXISEG_API_KEYS_FILE:", err=True)
    typer.echo(line)
