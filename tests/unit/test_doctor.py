"""`snnir doctor`: what is here, said whatever state it is in."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

import pytest

import snnir
from snnir import doctor
from snnir.cli import main
from tests.helpers import ROOT
from tests.terminals import on_terminal, screen


def install(folder: Path, name: str, version: str, source: str) -> None:
    """Put a package where it is found."""
    (folder / f"{name}.py").write_text(source)
    facts = folder / f"{name}-{version}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, doctor.Finding]:
    install(tmp_path, "fine_one", "1.2", "print('loud')")
    install(tmp_path, "older_one", "0.9+cpu", "")
    install(tmp_path, "raises_one", "1.0", "raise RuntimeError('no such\\nlibrary')")
    install(tmp_path, "dies_one", "1.0", "import os; os.abort()")
    install(tmp_path, "hangs_one", "1.0", "import time; time.sleep(600)")
    (tmp_path / "odd_one-1.dist-info").mkdir()
    (tmp_path / "odd_one-1.dist-info" / "METADATA").write_bytes(b"\xff\xfe\x00")
    names = ("fine_one", "older_one", "raises_one", "dies_one", "hangs_one", "odd_one", "none_one")
    made = tuple(
        doctor.Package(name, "simulators", "trying", "1.0" if name == "older_one" else "")
        for name in names
    )
    monkeypatch.setattr(doctor, "PACKAGES", made)
    monkeypatch.setattr(doctor, "_IMPORT", 2)
    monkeypatch.setattr(doctor, "ask", lambda code: doctor._output([sys.executable, "-c", code], 2))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return {item.name: item for item in doctor.survey(imports=True)}


@pytest.mark.slow
def test_packages_in_any_state_are_rows(packages: dict[str, doctor.Finding]) -> None:
    states = {name: packages[name].state for name in packages if name.endswith("_one")}
    assert states == {
        "fine_one": "found", "older_one": "other version", "raises_one": "broken",
        "dies_one": "broken", "hangs_one": "broken", "odd_one": "missing", "none_one": "missing",
    }  # fmt: skip
    assert packages["fine_one"].version == "1.2"
    assert packages["older_one"].remark == "verified with 1.0"
    assert packages["raises_one"].remark == "library"  # the last line of a traceback
    assert packages["dies_one"].remark.startswith("ended with -")
    assert packages["hangs_one"].remark == "no answer within 2 s"
    assert packages["none_one"].get == "pip install none_one"
    assert packages["Python"].version == sys.version.split()[0]


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = {item.name: item for item in (*doctor._compilers(), *doctor._programs())}
    assert {item.state for item in found.values()} == {"missing"}
    assert "compiling to C" in doctor.missing_tasks([*found.values()])
    (tmp_path / "cc").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "cc").chmod(0o755)
    assert next(doctor._compilers()).state == "broken"


def test_the_summary_names_what_is_missing() -> None:
    there = [doctor.Finding(name, "tools", doctor.FOUND) for name in ("C compiler", "jax", "torch")]
    lacking = doctor.Finding("matplotlib", "tools", doctor.MISSING, get="pip install it")
    assert doctor.missing_tasks([*there, lacking]).endswith("tasks: pictures (pip install it)")
    assert "nothing is missing" in doctor.missing_tasks(
        [*there, doctor.Finding("matplotlib", "tools", doctor.OTHER)]
    )


@pytest.mark.slow
def test_doctor_on_the_command_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_DEVICES", {})  # torch and JAX take seconds to be imported
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--json"])
    assert not ended.value.code
    facts = json.loads(capfd.readouterr().out)
    rows = {row["name"]: row for row in facts["findings"]}
    assert rows["snnir"]["state"] == rows["numpy"]["state"] == "found"
    assert set(rows["samna"]) == set(doctor.Finding.__dataclass_fields__)
    with pytest.raises(SystemExit):
        main(["doctor"])
    out = capfd.readouterr().out
    assert "\x1b" not in out
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["snnir", "Python"]
    assert out.splitlines()[-1] == facts["summary"]


@pytest.mark.slow
def test_doctor_on_a_terminal_fits_it() -> None:
    code = "from snnir import doctor; from snnir.cli import main; doctor._DEVICES = {}; main()"
    written = on_terminal([sys.executable, "-c", code, "doctor"])
    lines = screen(written)
    assert max(map(len, lines)) <= 100
    assert "tools" in lines
    assert "\x1b[32mfound" in written
    assert "for the most common tasks" in lines[-1]


def test_versions(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert not ended.value.code
    first, python, core, *_ = capfd.readouterr().out.splitlines()
    assert first == f"snnir, version {snnir.__version__}"
    assert python.startswith(f"Python {sys.version.split()[0]} on ")
    assert re.match(r"with numpy \d[\w.]*, networkx ", core)


def test_verified_versions_are_those_that_the_tests_install() -> None:
    tree = ast.parse((ROOT / "x.py").read_text(encoding="utf-8"))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    matches = [re.match(r"([\w-]+)==([\w.]+)", text) for text in texts if isinstance(text, str)]
    pins = {match[1]: match[2] for match in matches if match}
    verified = {item.name: item.verified for item in doctor.PACKAGES if item.verified}
    assert len(verified) > 10
    assert verified.pop("jaxlib") == verified["jax"]
    assert verified == {name: pins[name] for name in verified}
