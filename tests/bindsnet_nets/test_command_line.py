"""Networks of BindsNET as MODEL of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from snnir.cli import main
from tests.bindsnet_nets.nets import Network  # noqa: F401  (skips without BindsNET)

pytestmark = pytest.mark.framework

MODEL = """
import torch
from bindsnet.network import Network
from bindsnet.network.nodes import DiehlAndCookNodes, Input
from bindsnet.network.topology import Connection


def net():
    torch.manual_seed(0)
    network = Network(dt=1.0)
    network.add_layer(Input(6), "X")
    network.add_layer(DiehlAndCookNodes(5, thresh=-60.0), "A")
    connection = Connection(network.layers["X"], network.layers["A"], w=4 * torch.rand(6, 5))
    network.add_connection(connection, "X", "A")
    return network


def seeded():
    return net(), {"seed": 3}
"""


def code_of(*arguments: str) -> int:
    """Return the exit code of a command, run in this process, where BindsNET is."""
    with pytest.raises(SystemExit) as done:
        main(list(arguments))
    assert isinstance(done.value.code, int)
    return done.value.code


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.py").write_text(MODEL, encoding="utf-8")
    model, out = str(tmp_path / "model.py"), str(tmp_path / "net.snnir")
    assert code_of("convert", f"{model}:net", "--to", "snnir", "-o", out) == 0
    assert code_of("inspect", f"{model}:net") == 0
    assert "X_to_A" in capsys.readouterr().out
    assert code_of("diff", f"{model}:net", out, "--poisson", "0.5") == 0
    assert "identical" in capsys.readouterr().out
    assert code_of("diff", f"{model}:seeded", out, "--poisson", "0.5") == 1
