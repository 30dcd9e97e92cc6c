"""Manners on a terminal: progress, quiet, verbose, colours, and what is said when it is piped."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import snnir
from snnir.cli import main
from tests.helpers import cli, nir_file, quiet_load, spikes
from tests.terminals import cli_on_terminal, on_terminal, screen

SLOW = '''
import sys, time
import snnir
from dataclasses import dataclass
from snnir.pipeline import Pass, register_pass
from snnir.progress import progress

@register_pass
@dataclass(frozen=True)
class Slow(Pass):
    """Waits."""

    name = "slow"
    seconds: float = 1.5

    def run(self, graph):
        with progress("wai\\x1b[31mting [bold]", 10) as step:
            for _ in range(10):
                time.sleep(self.seconds / 10)
                step()
            if self.seconds > 1:
                print("from the pass", file=sys.stderr)
                time.sleep(0.3)
        return graph
'''


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return nir_file(tmp_path / "m.nir")


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "slow.py"
    path.write_text(SLOW)
    return path


READING = ("--semantics", "norse", "--dt", "1e-3")


@pytest.mark.slow
def test_what_takes_a_second_has_a_bar_that_goes_and_leaves_stdout_alone(
    model: Path, plugin: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.snn"
    command = ("opt", model, *READING, "--plugin", plugin, "--passes", "slow")
    written = cli_on_terminal(*command, stdout=out)
    assert "pass 'slow" in written
    assert "/10" in written
    assert "wai\\x1b[31mting [bold]" in written.replace("\x1b[0m", "")  # as text
    assert screen(written) == ["from the pass"]
    assert out.read_text() == str(quiet_load(model, semantics="norse", dt=1e-3))
    # The same on one terminal: the bars are gone before the result is printed.
    shown = screen(cli_on_terminal(*command))
    assert shown == ["from the pass", *out.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("why", ["quiet", "short", "dumb"])
def test_no_bar(why: str, model: Path, plugin: Path, tmp_path: Path) -> None:
    seconds = "0.2" if why == "short" else "1.3"
    option = ("-q",) if why == "quiet" else ()
    environment = {"TERM": "dumb"} if why == "dumb" else {}
    command = ("opt", model, *READING, "--plugin", plugin, "--passes", f"slow{{seconds={seconds}}}")
    written = cli_on_terminal(*command, *option, stdout=tmp_path / "out.snn", **environment)
    expected = "" if why == "short" else "from the pass"
    assert written.strip() == expected


def test_a_bar_is_erased_before_anything_is_written(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, time, snnir\n"
        "from snnir import progress_bars\n"
        "from snnir.progress import counted\n"
        "progress_bars.PATIENCE = 0.05\n"
        "with snnir.show_progress(0.02):\n"
        "    for number in counted(range(8), 'counting'):\n"
        "        time.sleep(0.08)\n"
        "        if number == 3: print('one'); print('t', end='', flush=True)\n"
        "        if number == 5: print('wo'); print('three', file=sys.stderr)\n"
        "    print('end')\n"
    )
    written = on_terminal([sys.executable, script])
    assert "counting" in written
    assert screen(written) == ["one", "two", "three", "end"]
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h")  # the cursor is back


def test_piped_output_is_data_alone(model: Path, plugin: Path) -> None:
    command = ("opt", model, *READING, "--plugin", plugin, "--passes", "slow{seconds=1.1}")
    done = cli(*command)
    assert done.stdout == str(quiet_load(model, semantics="norse", dt=1e-3))
    assert done.stderr == "from the pass\n"


Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process; return what went to stdout and stderr."""

    def main_with(*words: object) -> tuple[str, str]:
        with pytest.raises(SystemExit):
            main([str(word) for word in words])
        return capfd.readouterr()

    return main_with


def test_quiet_and_verbose_stand_before_or_after_the_command(model: Path, run: Run) -> None:
    for words in (
        ["-q", "inspect", model],
        ["inspect", model, "-q"],
        ["inspect", "--quiet", model],
    ):
        assert run(*words)[1] == ""
    plain, warned = run("inspect", model)
    assert "warning[SNN301]" in warned
    told = []
    for words in (["-vq", "inspect", model], ["inspect", model, "-q", "--verbose"]):
        out, err = run(*words)
        assert out == plain
        told.append(err.rpartition(",")[0])  # what follows is the time it took
    assert told[0] == told[1]
    assert told[0].startswith(f"snnir: read {model} as NIR (")
    assert "semantics" in told[0]
    assert "node 'n1'" not in told[0]
    assert "snnir: node 'n1': " in run("-v", "inspect", model, "-v")[1]
    assert "snnir: " not in run("inspect", model)[1]  # nothing of it stays


def test_verbose_says_what_is_done(model: Path, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "out"
    out, err = run("compile", model, *READING, "-o", folder, "-v")
    assert out == f"{folder}\n"
    assert "as NIR" in err
    assert "semantics=norse, dt=0.001" in err
    assert "pass 'discretize' (2 of 6): 1 changed" in err
    assert "for numpy" in err
    for file in folder.iterdir():
        assert f"wrote {file}, {file.stat().st_size:,} bytes" in err


def test_remarks_are_not_made_in_quiet_but_answers_are(
    model: Path, tmp_path: Path, run: Run
) -> None:
    command = ("compile", model, *READING, "-o", tmp_path / "out")
    assert "numpy: " in run(*command)[1]
    assert run(*command, "-q")[1] == ""
    assert "identical over 50 steps" in run(*command, "-q", "--verify")[1]


def test_list_keeps_its_own_verbose(run: Run) -> None:
    assert "bits: int = 8" in run("list", "passes", "-v")[0]
    assert run("list", "semantics", "-v") == run("list", "semantics")


def test_diagnostics_are_in_colour_on_terminals_alone(model: Path) -> None:
    written = cli_on_terminal("inspect", model, "--semantics", "nors")
    plain = "error[SNN302]: there are no semantics called 'nors'; did you mean norse?"
    assert written.startswith("\x1b[31m\x1b[1merror[SNN302]:\x1b[0m there are no")
    assert screen(written) == [plain]
    assert cli("inspect", model, "--semantics", "nors").stderr == plain + "\n"
    written = cli_on_terminal("inspect", model, "--semantics", "nors", NO_COLOR="1")
    assert written == plain + "\r\n"
    assert "\x1b[33mwarning[SNN301]:\x1b[0m" in cli_on_terminal("inspect", model)


def test_the_log_is_there_for_scripts(
    model: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, "snnir"):
        snnir.run(quiet_load(model, semantics="norse", dt=1e-3), spikes((3, 1, 3)))
    assert [text.split(" ", 1)[0] for text in caplog.messages] == ["read", "pass", "built", "ran"]
    assert capfd.readouterr().err == ""


def test_progress_is_not_shown_where_stderr_is_no_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = sys.stdout, sys.stderr
    with snnir.show_progress():
        assert (sys.stdout, sys.stderr) == before
    assert capfd.readouterr() == ("", "")


# --- Names ---------------------------------------------------------------------------------------

MISSPELT = {
    "command": (["complie", "{m}"], "Did you mean compile"),
    "option": (["inspect", "{m}", "--formt", "dot"], "--format"),
    "choice": (["list", "tragets"], "Did you mean targets?"),
    "format": (["inspect", "{m}", "--format", "equation"], "Did you mean equations?"),
    "target": (["compile", "{m}", "--target", "natvie"], "did you mean native?"),
    "target option": (["compile", "{m}", "--set", "presicion=x"], "did you mean precision?"),
    "pass": (["opt", "{m}", "--passes", "quantise"], "did you mean quantize?"),
    "pass option": (["opt", "{m}", "--passes", "quantize{bit=2}"], "did you mean bits?"),
    "semantics": (["inspect", "{m}", "--semantics", "SNNTorch2"], "did you mean snntorch?"),
    "stepping": (["inspect", "{m}", "--stepping", "rset=zero"], "did you mean reset?"),
    "record": (["run", "{m}", *READING, "--poisson", "0.1", "--record", "m1"], "did you mean n1"),
    "file": (["inspect", "{d}/mm.nir"], "did you mean m.nir?"),
    "folder": (["inspect", "{d}/no/m.nir"], "there is no folder"),
    "input": (["run", "{m}", "--input", "{d}/xx.npy"], "did you mean x.npy?"),
    "module": (["inspect", "{d}/fatcory.py:make"], "did you mean factory.py?"),
    "factory": (["inspect", "{d}/factory.py:mkae"], "did you mean make?"),
    "plug-in": (["list", "passes", "--plugin", "{d}/fatcory.py"], "did you mean factory.py?"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MISSPELT)
def test_misspelt_names_are_answered_with_those_that_were_meant(
    kind: str, model: Path, tmp_path: Path, run: Run
) -> None:
    (tmp_path / "factory.py").write_text("def make():\n    return None\n")
    (tmp_path / "x.npy").touch()
    words, meant = MISSPELT[kind]
    err = run(*(w.replace("{m}", str(model)).replace("{d}", str(tmp_path)) for w in words))[1]
    assert meant in err
    assert "Traceback" not in err
