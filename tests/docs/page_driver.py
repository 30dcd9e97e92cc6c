"""Run the blocks of one page: `python -m tests.docs.page_driver PAGE`, in the page's folder.

Runs alone in its process, so that a page may set seeds, import what it likes, or crash.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import traceback
import types
from pathlib import Path
from shutil import copy2, copytree

from tests.docs.page_blocks import Block, Page, PageError, Step, agrees, commands, read_page

ROOT = Path(__file__).parent.parent.parent
_MARK = "\x01end of a command\x01"


class Differs(PageError):
    """What was printed is not what the page shows."""


class Run:
    """The state of a page that is run: its namespace and what the last block printed."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.printed = ""
        self.module = types.ModuleType("__main__")
        sys.modules["__main__"] = self.module

    def step(self, step: Step) -> None:
        """Do what stands at one place of the page."""
        if step.key == "file":
            self.file(step.value)
        elif step.key == "prepare":
            done = subprocess.run([sys.executable, "-c", step.value], check=False)
            if done.returncode:
                raise PageError("this preparation failed")
        elif step.block:
            self.block(step.block)

    def file(self, value: str) -> None:
        """Copy a file or folder of the repository."""
        name, _, source = value.partition(" from ")
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (copytree if (ROOT / source).is_dir() else copy2)(ROOT / source, target)

    def block(self, block: Block) -> None:
        """Write, run or compare a block, as its fence and its comments say."""
        if block.title:
            (self.folder / block.title).write_text(block.text, "utf-8")
        elif "output" in block.marks:
            self.compare(block.text, self.printed)
        elif block.runs:
            runner = self.python if block.language == "python" else self.shell
            try:
                runner(block)
            except Differs:
                raise
            except Exception as problem:
                self.printed += f"\n{problem}"
                if block.marks.get("fails", "\0") not in self.printed:
                    raise
            else:
                if "fails" in block.marks:
                    raise PageError(f"this should fail; it printed:\n{self.printed}")

    def python(self, block: Block) -> None:
        """Run Python; its file has the page's line numbers and can be read by `inspect`."""
        self.printed = ""
        source = self.folder.parent / f"{self.page.path.stem}-{block.line}.py"
        source.write_text("\n" * (block.line - 1) + block.text, "utf-8")
        code = compile(source.read_text("utf-8"), str(source), "exec", dont_inherit=True)
        with contextlib.redirect_stdout(io.StringIO()) as caught:
            try:
                exec(code, self.module.__dict__)
            finally:
                self.printed = caught.getvalue()

    def shell(self, block: Block) -> None:
        """Run commands; the first that fails ends the block."""
        self.printed = ""
        parts = commands(block.text) if block.language == "console" else [(block.text, "")]
        ends = f"\nprintf '{_MARK}'\n"
        script = "set -euo pipefail\n" + "".join(command + ends for command, _ in parts)
        done = subprocess.run(
            ["bash", "-c", script],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", check=False,
        )  # fmt: skip
        outputs = done.stdout.split(_MARK)
        self.printed = "".join(outputs)
        failure = PageError(f"exit code {done.returncode}; it printed:\n{self.printed}")
        if done.returncode and "fails" not in block.marks:
            raise failure
        for (_, shown), printed in zip(parts, outputs, strict=False):
            if shown.strip():
                self.compare(shown, printed)
        if done.returncode:
            raise failure

    @staticmethod
    def compare(shown: str, printed: str) -> None:
        """Compare what the page shows with what was printed."""
        if not agrees(shown, printed):
            raise Differs(f"the page shows\n{shown}\nbut this was printed:\n{printed}")


def main(path: str) -> int:
    """Run a page in the current folder; the first block that does not do what it should ends it."""
    page = read_page(Path(path))
    run = Run(page, Path.cwd())
    for step in page.steps:
        start = sum(os.times()[:4])
        try:
            run.step(step)
        except PageError as problem:
            print(f"{path}:{step.line}: {problem}", file=sys.stderr)
            return 1
        except BaseException:
            print(f"{path}:{step.line}: this block failed", file=sys.stderr)
            traceback.print_exc()
            return 1
        if step.block and step.block.runs:
            print(f"{path}:{step.line}: {sum(os.times()[:4]) - start:.2f} s of CPU")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
