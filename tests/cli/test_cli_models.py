"""Commands on recurrent and convolutional models, on factories, and what start-up costs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import snnir.cli.app
from tests.helpers import ROOT, cli, nir_convolution, nir_file, nir_recurrent

Maker = Callable[[Path], Path]
COMMANDS = (
    "check", "compile", "completion", "convert", "diff", "doctor", "encode", "explain", "inspect",
    "list", "opt", "run",
)  # fmt: skip


@pytest.mark.parametrize("make", [nir_file, nir_recurrent, nir_convolution])
@pytest.mark.parametrize("semantics", ["snntorch", "norse", "sinabs"])
def test_compile_run_and_compare(make: Maker, semantics: str, tmp_path: Path) -> None:
    model, out = make(tmp_path / "m.nir"), tmp_path / "out"
    reading = ("--semantics", semantics, "--dt", "1e-3")
    done = cli("-q", "compile", model, *reading, "-o", out, "--verify", "-O", "2")
    assert done.returncode == 0, done.stderr
    assert "identical over 50 steps" in done.stderr
    x = ("--poisson", "0.3", "--steps", "30", "--batch", "2", "--json")
    facts = json.loads(cli("run", out, *x).stdout)
    assert sum(p["spikes"] for p in facts["populations"].values()) > 0
    done = cli("-q", "diff", model, out, *reading, *x)
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["identical"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_one_example(command: str) -> None:
    done = cli(command, "--help")
    assert done.returncode == 0
    assert done.stdout.count(f"Example: snnir {command} ") == 1


def test_all_commands_are_known() -> None:
    assert tuple(sorted(snnir.cli.app._COMMANDS)) == COMMANDS
    listed = cli("--help").stdout
    assert all(f"  {command} " in listed for command in COMMANDS)
    first, *found = cli("--version").stdout.splitlines()
    assert first == f"snnir, version {snnir.__version__}"
    assert any("numpy" in line for line in found)


LOADED = """
import sys
from snnir.cli.app import group
group.main(["--help"], prog_name="snnir", standalone_mode=False)
top = {name.split(".")[0] for name in sys.modules} - sys.stdlib_module_names
print("LOADED", *sorted(top))
"""


def test_help_loads_no_heavy_library() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, cwd=ROOT
    )
    last = done.stdout.splitlines()[-1].split()
    assert last[0] == "LOADED"
    heavy = {"h5py", "jax", "matplotlib", "networkx", "nir", "numpy", "rich", "scipy", "torch"}
    assert {"click", "snnir"} <= set(last)
    assert not heavy & set(last)


FACTORY = """
from __future__ import annotations
import dataclasses, sys
sys.path.insert(0, {root!r})

@dataclasses.dataclass
class Sizes:
    neurons: int = 4

def make():
    print("building", Sizes().neurons)
    from tests.helpers import recurrent
    return recurrent()

def leave():
    raise SystemExit(0)

def refuse():
    import snnir
    return snnir.load("absent.nir")
"""


@pytest.fixture
def factory(tmp_path: Path) -> Path:
    path = tmp_path / "made.py"
    path.write_text(FACTORY.format(root=str(ROOT)))
    return path


def test_factories_may_print_and_have_dataclasses(factory: Path) -> None:
    done = cli("inspect", f"{factory}:make", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["nodes"]
    assert "building 4" in done.stderr


def test_factories_that_fail(factory: Path) -> None:
    done = cli("inspect", f"{factory}:leave")
    assert done.returncode == 1
    assert "error[SNN101]" in done.stderr
    assert "SystemExit" in done.stderr
    done = cli("inspect", f"{factory}:refuse")
    assert done.stderr.startswith("error[SNN101]: absent.nir:")


def test_options_a_factory_ignores_are_named(factory: Path) -> None:
    done = cli("inspect", f"{factory}:make", "--semantics", "norse", "--time-unit", "2")
    assert "warning[SNN701]" in done.stderr
    assert "not applied: --semantics, --time-unit" in done.stderr
    assert "warning" not in cli("inspect", f"{factory}:make").stderr
