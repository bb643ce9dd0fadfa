"""What clients see of what a training prints: names in their archive, and no path of the machine.

A traceback, and what follows it, is withheld: it quotes values and our own files. The operator finds it in the output.
"""

from __future__ import annotations

from pathlib import Path

from lexiseg_service.gateway.uploaded_archive import without_paths

MAX_LINE = 10_000  # bytes; the rest of a line is left out
WITHHELD = "it failed by an error of its own; the operator finds it in the output of this training"
TRACEBACK = "Traceback (most recent call last):"


class ClientLog:
    """Copies the lines of an output file into a log for clients, as they come.

    Args:
        output: what the training writes.
        log: is written anew.
        folder: of the training.
    """

    def __init__(self, output: Path, log: Path, folder: Path) -> None:
        self._output = output
        self._log = log
        self._folder = folder
        self._position = 0
        self._withholds = False
        self._is_long = False
        log.write_bytes(b"")

    def begin(self) -> None:
        """Go on with another command and show its output again."""
        self.follow(ended=True)
        self._withholds = False

    def follow(self, *, ended: bool = False) -> None:
        """Copy whole lines that are new; when the output has `ended`, the last line, too."""
        with self._output.open("rb") as output, self._log.open("ab") as log:
            output.seek(self._position)
            while line := output.readline(MAX_LINE):
                is_whole = line.endswith(b"\n")
                if not is_whole and len(line) < MAX_LINE and not ended:
                    return
                self._position = output.tell()
                if not self._is_long:
                    log.write(self._public_line(line.decode(errors="replace").rstrip("\r\n")))
                self._is_long = not is_whole and len(line) == MAX_LINE

    def _public_line(self, line: str) -> bytes:
        if self._withholds:
            return b""
        self._withholds = line.startswith(TRACEBACK)
        text = WITHHELD if self._withholds else without_paths(line, self._folder)
        return f"{text}\n".encode()
