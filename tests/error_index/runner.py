"""Run the examples of the error index; `python -m tests.error_index.runner` writes their messages.

An entry of `snnir/error_index` is Markdown: why the rule exists, what to do, an example that fails
and one that passes. Within an example a block after `` `NAME`: `` is a file, a block of `python` or
`console` is run in an empty folder (with `digits.nir`), and a block of `text` after it is what it
says. `…` stands for anything there.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from snnir.cli import main
from snnir.errors import CODES, SnnirError, SnnirWarning
from tests.helpers import ROOT

ENTRIES = ROOT / "snnir" / "error_index"
MODEL = ROOT / "examples" / "digits" / "digits.nir"
#: Codes whose examples need torch.
TORCH = tuple(code for code in CODES if code.startswith("SNN8"))

_BLOCK = re.compile(r"(?:^`([^`\n]+)`:\n\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """One example of an entry.

    Attributes:
        files: Text by name.
        language: `python` or `console`.
        code: What is run.
        says: What the page says it says, nothing for an example that passes.
    """

    files: dict[str, str]
    language: str
    code: str
    says: str


@dataclass(frozen=True)
class Outcome:
    """What an example did.

    Attributes:
        findings: Its errors and warnings, one line each.
        failed: Whether it ended with an error.
    """

    findings: tuple[str, ...]
    failed: bool

    @property
    def codes(self) -> set[str]:
        """The codes of all findings; a line without a code counts as `none`."""
        found = (re.match(r"(?:error|warning)\[(\w+)\]", line) for line in self.findings)
        return {match[1] if match else "none" for match in found}


def path_of(code: str) -> Path:
    """Return the file of an entry."""
    return ENTRIES / f"{code}.md"


def read(code: str, part: str) -> Example:
    """Read the part `Fails` or `Passes` of an entry."""
    text = path_of(code).read_text("utf-8").partition(f"\n## {part}\n")[2].partition("\n## ")[0]
    files: dict[str, str] = {}
    blocks: dict[str, str] = {}
    for name, language, content in _BLOCK.findall(text):
        if name:
            files[name] = content
        else:
            assert language not in blocks, f"{code}: two blocks of {language}"
            blocks[language] = content
    says = blocks.pop("text", "")
    ((language, code_text),) = blocks.items()
    return Example(files, language, code_text, says)


def run(example: Example) -> Outcome:
    """Run an example in a folder of its own."""
    with tempfile.TemporaryDirectory() as scratch, _inside(Path(scratch)):
        for name, text in example.files.items():
            Path(name).write_text(text, "utf-8")
        shutil.copyfile(MODEL, MODEL.name)
        return _console(example.code) if example.language == "console" else _python(example.code)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before, modules = Path.cwd(), set(sys.modules)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        for name in set(sys.modules) - modules:
            if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(folder)):
                del sys.modules[name]


def _console(code: str) -> Outcome:
    """Run commands of snnir; the last may fail."""
    said = io.StringIO()
    status = 0
    for line in code.replace("\\\n", " ").splitlines():
        command = shlex.split(line)
        assert command[:2] == ["$", "snnir"], f"not a command of snnir: {line}"
        assert not status, f"failed before the last command: {said.getvalue()}"
        out = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(out):
            status = main_of(command[2:])
    lines = said.getvalue().splitlines()
    found = [line for line in lines if line.startswith(("error", "warning"))]
    return Outcome(tuple(found or (lines if status else ())), bool(status))


def main_of(arguments: list[str]) -> int:
    """Run the command line in this process and return its exit code."""
    try:
        main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    raise AssertionError("main does not return")


def _python(code: str) -> Outcome:
    """Run a program; its file exists, because messages show lines of it."""
    Path("example.py").write_text(code, "utf-8")
    with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", SnnirWarning)
        failed: tuple[str, ...] = ()
        program = types.ModuleType("example")
        sys.modules["example"] = program
        name = str(Path("example.py").resolve())
        try:
            exec(compile(code, name, "exec", dont_inherit=True), program.__dict__)
        except SnnirError as failure:
            failed = tuple(str(item) for item in failure.diagnostics)
        finally:
            del sys.modules["example"]
    return Outcome((*(str(item.message) for item in warned), *failed), bool(failed))


def agrees(shown: str, said: str) -> bool:
    """Whether an entry shows what an example said; `…` stands for anything."""
    pattern = re.escape(shown.strip("\n")).replace("…", ".*")
    return re.fullmatch(pattern, said) is not None


def write(code: str) -> str:
    """Run both examples of an entry, write what the first says, and return what is wrong."""
    fails, passes = read(code, "Fails"), read(code, "Passes")
    one, two = run(fails), run(passes)
    said = "\n".join(one.findings)
    if not agrees(fails.says, said):
        text = path_of(code).read_text("utf-8")
        start, end = next(
            match.span(3) for match in _BLOCK.finditer(text) if match[2] == "text" and not match[1]
        )
        path_of(code).write_text(f"{text[:start]}{said}\n{text[end:]}", "utf-8")
    wrong = [] if one.codes == {code} else [f"{code} says {sorted(one.codes)}: {said}"]
    if two.failed or two.findings:
        wrong.append(f"{code} does not pass: {two.findings}")
    return "\n".join(wrong)


if __name__ == "__main__":
    for entry in sys.argv[1:] or CODES:
        if path_of(entry).exists():
            print(f"{entry}: {write(entry) or 'written'}")
        else:
            print(f"{entry} has no entry")
