"""The support matrix says what the targets do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import pytest

import snnir
from snnir.ir import OPS, Graph
from snnir.matrix import EXAMPLES, _neurons, graph_for, support_matrix
from tests.helpers import cli_here


def test_every_op_and_model_has_a_row() -> None:
    rows = {row["op"]: row for row in support_matrix()}
    assert set(EXAMPLES) | {"input", "neuron", "step"} == {
        n for n in OPS if not n.startswith("test")
    }
    assert set(snnir.MODELS) <= set(rows)
    assert set(rows["linear"]) == {
        "op",
        "bss2",
        "events",
        "ipu",
        "jaxsnn",
        "mlir",
        "native",
        "nir",
        "norse",
        "numpy",
        "sinabs",
        "snnir",
        "snntorch",
        "speck",
        "spikingjelly",
        "torch",
        "xla",
        "xylo",
    }
    assert rows["max_pool2d"]["nir"] == "refused"
    assert rows["lif"]["sinabs"] == "exact"
    assert rows["lif"]["events"] == rows["conv2d"]["events"] == "exact in real arithmetic"
    assert rows["winner"]["events"] == rows["step (LIF family)"]["events"] == "refused"
    assert rows["batch_norm"]["norse"] == "exact in real arithmetic"


@cache
def rows_once() -> list[dict[str, Any]]:
    return support_matrix()


@pytest.mark.parametrize("name", [*EXAMPLES, *_neurons()])
def test_check_says_the_same(name: str) -> None:
    op, shape = {**EXAMPLES, **_neurons()}[name]
    (row,) = (row for row in rows_once() if row["op"] == name)
    for target, level in row.items():
        if target == "op":
            continue
        refused = bool(snnir.check(graph_for(op, shape, target), target))
        assert refused == (level == "refused"), target


def test_a_target_that_refuses_everything_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Never(snnir.Target):
        name: ClassVar[str] = "never"

        def pipeline(self, level: int) -> str:
            return ""

        def check(self, graph: Graph) -> list[snnir.Diagnostic]:
            return [snnir.Diagnostic("SNN501", "no", "op")]

    from snnir import registry

    monkeypatch.setitem(registry._local["targets"], "never", Never)
    assert {row["never"] for row in support_matrix()} == {"refused"}


def test_cli() -> None:
    rows = json.loads(cli_here("list", "neurons", "--matrix", "--json").stdout)
    assert rows == support_matrix()
    done = cli_here("list", "passes", "--matrix")
    assert done.returncode == 1
    assert "SNN701" in done.stderr
