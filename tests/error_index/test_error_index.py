"""The error index: every code has an example that fails with it alone, and one that passes."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

import snnir
from snnir.errors import CODES
from tests.error_index import runner

_ALL: list[Any] = [
    pytest.param(code, marks=[pytest.mark.framework] if code in runner.TORCH else [])
    for code in CODES
]
_NEEDS = {**dict.fromkeys(runner.TORCH, "torch"), "SNN802": "snntorch"}


def example(code: str, part: str) -> runner.Example:
    needed = _NEEDS.get(code)
    if needed and importlib.util.find_spec(needed) is None:
        pytest.skip(f"needs {needed}")
    return runner.read(code, part)


def test_every_code_has_an_entry_and_every_entry_a_code() -> None:
    assert {path.name for path in runner.ENTRIES.iterdir()} == {f"{code}.md" for code in CODES}


@pytest.mark.parametrize("code", _ALL)
def test_failing_example_ends_with_this_code_alone(code: str) -> None:
    shown = example(code, "Fails")
    found = runner.run(shown)
    assert found.codes == {code}, found.findings
    assert found.failed == found.findings[-1].startswith("error")
    said = "\n".join(found.findings)
    assert runner.agrees(shown.says, said), f"it says {said}; run tests/error_index/runner.py"


@pytest.mark.parametrize("code", _ALL)
def test_passing_example_has_nothing_to_say(code: str) -> None:
    found = runner.run(example(code, "Passes"))
    assert found == runner.Outcome((), failed=False)


@pytest.mark.parametrize("code", CODES)
def test_entries_are_complete(code: str) -> None:
    text = runner.path_of(code).read_text("utf-8")
    assert (
        text.index("\n\nWhat to do: ") < text.index("\n\n## Fails\n") < text.index("\n## Passes\n")
    )
    fails, passes = runner.read(code, "Fails"), runner.read(code, "Passes")
    assert fails.says
    assert not passes.says
    assert (fails.files, fails.code) != (passes.files, passes.code)


def test_the_runner_sees_what_an_example_does() -> None:
    quiet = runner.Example({}, "console", "$ snnir inspect digits.nir\n", "")
    assert runner.run(quiet) == runner.Outcome((), failed=False)
    wrong = runner.Example({}, "console", "$ snnir inspect digits.nir --no-such-option\n", "")
    assert runner.run(wrong).failed
    assert runner.run(wrong).codes == {"none"}
    both = "import snnir\nsnnir.load('digits.nir', semantics='norse')\nsnnir.load('nothing.nir')\n"
    found = runner.run(runner.Example({}, "python", both, ""))
    assert found.codes >= {"SNN109", "SNN101"}
    assert not runner.agrees("took … s", "took 1 minute")
    assert runner.agrees("took … s", "took 1.5 s")


def test_explain_prints_the_entry(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("SNN204", "snn204", "204"):
        assert runner.main_of(["explain", word]) == 0
        told = capsys.readouterr().out
        assert told.startswith(f"SNN204: {CODES['SNN204']}\n")
        assert runner.read("SNN204", "Fails").says.strip() in told
        assert "```" not in told
    assert runner.main_of(["explain"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{code}  {rule}" in listed for code, rule in CODES.items())


@pytest.mark.parametrize("code", ["SNN240", "", "SNN", "../SNN204", "\x1b[31m"])
def test_a_code_that_is_not_there(code: str) -> None:
    with pytest.raises(snnir.SnnirError, match=r"SNN701.*`snnir explain` lists") as caught:
        snnir.explain(code)
    assert "\x1b" not in str(caught.value)
