"""Programs on a terminal: what they write, and what a person sees in the end."""

from __future__ import annotations

import os
import re
import select
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
_CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")


def on_terminal(
    command: Sequence[object],
    *,
    stdout: Path | None = None,
    limit: float = 60.0,
    **environment: str,
) -> str:
    """Run a command whose stderr, and stdout unless it goes to a file, is a terminal of 24 x 100.

    Returns:
        All that it wrote to the terminal, control sequences included.
    """
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
    settings = {**plain, "TERM": "xterm", "PYTHONPATH": str(ROOT), **environment}
    with open(stdout or os.devnull, "wb") as file:
        process = subprocess.Popen(
            [str(part) for part in command], stdin=theirs, stderr=theirs,
            stdout=file if stdout else theirs, env=settings,
        )  # fmt: skip
    os.close(theirs)
    written, end = b"", time.monotonic() + limit
    while time.monotonic() < end:
        if not select.select([ours], [], [], 0.1)[0]:
            continue
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux: nobody has the other end
            break
        if not part:
            break
        written += part
    process.kill()
    process.wait()
    os.close(ours)
    return written.decode(errors="replace")


def cli_on_terminal(*arguments: object, stdout: Path | None = None, **environment: str) -> str:
    """Run snnir on a terminal."""
    command = [sys.executable, "-m", "snnir", *arguments]
    return on_terminal(command, stdout=stdout, limit=60.0, **environment)


def screen(written: str) -> list[str]:
    """Return the lines a person sees in the end, of what was written to a terminal."""
    lines, row, column = [""], 0, 0
    for match in _CONTROL.finditer(written):
        number, letter, to_start, down, text = match.groups()
        if to_start:
            column = 0
        elif down:
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif text:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + text + line[column + len(text) :]
            column += len(text)
        elif letter == "A":
            row -= int(number or 1)
        elif letter == "K":
            lines[row] = "" if number == "2" else lines[row][:column]
    return [line.rstrip() for line in lines if line.strip()]
