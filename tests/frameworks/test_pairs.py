"""Every ordered pair of frameworks on three networks: no spike differs.

The networks are in the style of their framework's users, with weights and inputs on a grid so that
membranes meet thresholds exactly (`tests/frameworks/pair_nets.py`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import snnir
from snnir.ir import Step

for module in ("torch", "snntorch", "sinabs", "spikingjelly.activation_based", "norse.torch"):
    pytest.importorskip(module)

from tests.frameworks.pair_nets import PairNet, nets

pytestmark = pytest.mark.framework
FRAMEWORKS = ("snntorch", "sinabs", "spikingjelly", "norse")
KINDS = ("dense", "conv", "recurrent")
STEPS, BATCH = 200, 8


@cache
def source(framework: str, kind: str) -> tuple[PairNet, Any, Any, snnir.Graph]:
    """A network, an input, its own framework's run, and its graph."""
    net = nets(framework)[kind]
    x = net.inputs(STEPS, BATCH)
    return net, x, net.run(x), snnir.from_torch(net.module, net.input_shape)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_import(framework: str, kind: str) -> None:
    net, x, expected, graph = source(framework, kind)
    np.testing.assert_array_equal(snnir.run(graph, x).output, expected)
    found = snnir.diff(net.module, graph, x)
    assert found.identical
    assert len(found.nodes) >= 3  # two populations and the output


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("there", FRAMEWORKS)
@pytest.mark.parametrize("here", FRAMEWORKS)
def test_pair(here: str, there: str, kind: str) -> None:
    """Exported, run by the other framework, imported again and brought home: XOR 0 throughout."""
    _, x, expected, graph = source(here, kind)
    exported = snnir.compile(graph, there, level=0)
    np.testing.assert_array_equal(exported.run(x).output, expected)
    again = snnir.from_torch(snnir.export(graph, there), graph.inputs["input"].shape)
    np.testing.assert_array_equal(snnir.run(again, x).output, expected)
    home = snnir.compile(again, here, level=0).run(x)
    np.testing.assert_array_equal(home.output, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_through_nir(framework: str, kind: str, tmp_path: Path) -> None:
    _, x, expected, graph = source(framework, kind)
    if (framework, kind) == ("norse", "conv"):
        with pytest.raises(snnir.SnnirError, match=r"SNN501.*max_pool2d"):
            snnir.save(graph, tmp_path / "net.nir")
        return
    snnir.save(graph, tmp_path / "net.nir")
    assert nir.read(tmp_path / "net.nir").nodes  # valid for those that know only NIR
    back = snnir.load(tmp_path / "net.nir")
    assert back.dt == graph.dt
    np.testing.assert_array_equal(snnir.run(back, x).output, expected)


@pytest.mark.parametrize("there", FRAMEWORKS)
def test_folders_run_alone(there: str, tmp_path: Path) -> None:
    """The folder's own program, in a process of its own, against the live source."""
    net, x, expected, graph = source("snntorch", "recurrent")
    folder = snnir.compile(graph, there, level=0).save(tmp_path / there)
    found = snnir.diff(net.module, folder, x)
    assert found.identical
    assert {entry.node for entry in found.nodes} >= set(snnir.populations(graph))
    np.testing.assert_array_equal(snnir.run(folder, x).output, expected)


def test_thresholds_matter() -> None:
    """The networks do meet their thresholds exactly: without the next float, spikes differ."""
    _, x, expected, graph = source("spikingjelly", "dense")
    editor = graph.edit()
    for node in graph.nodes.values():
        op = node.op
        if isinstance(op, Step) and isinstance(op.dynamics, snnir.LifStep):
            editor.set_op(node.name, replace(op, dynamics=replace(op.dynamics, fire="gt")))
    assert (snnir.run(editor.graph(), x).output != expected).sum() > 100
