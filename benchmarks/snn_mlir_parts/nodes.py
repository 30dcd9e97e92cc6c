"""Small NIR graphs, one per kind of node or wiring, to see which of them a tool takes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypeAlias

import nir
import numpy as np

Edges: TypeAlias = list[tuple[str, str]]
Built: TypeAlias = tuple[dict[str, nir.NIRNode], Edges]

STEP = 1e-4
FOUR = np.ones(4, np.float32)


def ones(*shape: int) -> Any:
    return np.ones(shape, np.float32)


def lif(*shape: int) -> nir.LIF:
    """Neurons as a discrete model with a decay of 0.9 is exported."""
    full = ones(*shape)
    return nir.LIF(tau=full * 10 * STEP, r=full * 10, v_leak=full * 0, v_threshold=full)


def cuba(kind: type[nir.NIRNode]) -> nir.NIRNode:
    """Neurons with a synapse, exported likewise: decays of 0.5 and 0.9."""
    given = {
        "tau_syn": FOUR * 2 * STEP, "tau_mem": FOUR * 10 * STEP, "r": FOUR * 10,
        "v_leak": FOUR * 0, "w_in": FOUR * 2,
    }  # fmt: skip
    return kind(**given, **({"v_threshold": FOUR} if kind is nir.CubaLIF else {}))


def conv(*weight: int, **options: Any) -> nir.Conv2d:
    given = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **options}
    return nir.Conv2d((8, 8), ones(*weight), bias=ones(weight[0]) * 0, **given)


def chain(shape: tuple[int, ...], out: tuple[int, ...], *nodes: nir.NIRNode) -> Built:
    """Wire nodes one after the other, between ports."""
    named: dict[str, nir.NIRNode] = {"input": nir.Input({"input": np.array(shape)})}
    named |= {f"n{number}": node for number, node in enumerate(nodes)}
    named["output"] = nir.Output({"output": np.array(out)})
    return named, list(itertools.pairwise(named))


def dense(*nodes: nir.NIRNode) -> Built:
    """Put nodes of 4 features behind a layer of 3 inputs."""
    return chain((3,), (4,), nir.Affine(ones(4, 3), FOUR * 0), *nodes)


def pictures(channels: int, size: tuple[int, int], *nodes: nir.NIRNode) -> Built:
    """Put nodes before neurons of so many channels; inputs are 2 channels of 8 x 8."""
    return chain((2, 8, 8), (channels, *size), *nodes, lif(channels, *size))


def wired(*more: tuple[str, str], layers: dict[str, nir.NIRNode]) -> Built:
    """Add layers and edges to a layer and its neurons."""
    nodes, edges = dense(lif(4))
    return nodes | layers, [*edges, *more]


def nested() -> Built:
    """Put the layer and its neurons in a graph of its own."""
    inner, edges = dense(lif(4))
    return chain((3,), (4,), nir.NIRGraph(inner, edges))


def feedback() -> nir.Linear:
    return nir.Linear(np.eye(4, dtype=np.float32))


def two_layers_back() -> Built:
    """Feed the second layer's neurons back to the first's."""
    nodes, edges = dense(lif(4), feedback(), lif(4))
    nodes["back"] = feedback()
    return nodes, [*edges, ("n3", "back"), ("back", "n1")]


#: By what is in it: how to build a graph.
GRAPHS: dict[str, Callable[[], Built]] = {
    "Linear": lambda: chain((3,), (4,), nir.Linear(ones(4, 3)), lif(4)),
    "Affine": lambda: dense(lif(4)),
    "Scale": lambda: dense(nir.Scale(FOUR), lif(4)),
    "Conv1d": lambda: chain(
        (2, 8), (4, 6), nir.Conv1d(8, ones(4, 2, 3), 1, 0, 1, 1, FOUR * 0), lif(4, 6)
    ),
    "Conv2d": lambda: pictures(4, (6, 6), conv(4, 2, 3, 3)),
    "Conv2d with stride and padding": lambda: pictures(
        4, (4, 4), conv(4, 2, 3, 3, stride=2, padding=1)
    ),
    "Conv2d with dilation": lambda: pictures(4, (4, 4), conv(4, 2, 3, 3, dilation=2)),
    "Conv2d in groups": lambda: pictures(4, (6, 6), conv(4, 1, 3, 3, groups=2)),
    'Conv2d with padding "same"': lambda: pictures(4, (8, 8), conv(4, 2, 3, 3, padding="same")),
    "SumPool2d": lambda: pictures(
        4, (3, 3), conv(4, 2, 3, 3), lif(4, 6, 6),
        nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
    ),
    "AvgPool2d": lambda: pictures(
        4, (3, 3), conv(4, 2, 3, 3), lif(4, 6, 6),
        nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
    ),
    "Flatten": lambda: chain(
        (2, 8, 8), (4,), conv(4, 2, 3, 3), lif(4, 6, 6),
        nir.Flatten({"input": np.array([4, 6, 6])}, 0, -1), nir.Linear(ones(4, 144)), lif(4),
    ),
    "IF": lambda: dense(nir.IF(r=FOUR, v_threshold=FOUR)),
    "LIF": lambda: dense(lif(4)),
    "CubaLIF": lambda: dense(cuba(nir.CubaLIF)),
    "I": lambda: dense(nir.I(r=FOUR)),
    "LI": lambda: dense(nir.LI(tau=FOUR * 10 * STEP, r=FOUR * 10, v_leak=FOUR * 0)),
    "CubaLI": lambda: dense(cuba(nir.CubaLI)),
    "Threshold": lambda: dense(nir.Threshold(FOUR)),
    "Delay": lambda: dense(nir.Delay(FOUR * 2 * STEP), lif(4)),
    "a graph in a graph": nested,
    "a layer that feeds itself": lambda: wired(
        ("n1", "back"), ("back", "n1"), layers={"back": feedback()}
    ),
    "neurons that feed themselves": lambda: wired(("n1", "n1"), layers={}),
    "a layer that feeds the one before": two_layers_back,
    "two layers side by side": lambda: wired(
        ("input", "twin"), ("twin", "n1"), layers={"twin": nir.Linear(ones(4, 3))}
    ),
    "two outputs": lambda: wired(
        ("n1", "second"), layers={"second": nir.Output({"output": np.array([4])})}
    ),
}  # fmt: skip


def build(name: str) -> nir.NIRGraph:
    """Build a graph, without NIR's check, which refuses correct convolutions."""
    nodes, edges = GRAPHS[name]()
    return nir.NIRGraph(nodes, edges, type_check=False)
