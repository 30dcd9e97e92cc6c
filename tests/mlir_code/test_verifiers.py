"""What the verifiers of two builds of MLIR say to emitted modules: torch-mlir's and IREE's."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import pytest

import snnir
from tests.mlir.models import MATRIX, of_corpus, of_matrix, random_graphs
from tests.targets import LEARNING, OPS, alone, neuron_graph, scalar_steps, tangled

BINDINGS = ("torch_mlir.ir", "iree.compiler.ir")


def emitted(graph: snnir.Graph, level: int = 1) -> str:
    """Return the module of a graph."""
    made: Any = snnir.compile(graph, "mlir", level=level, backend="none")
    text: bytes = made.files["model.mlir"]
    return text.decode()


@lru_cache
def modules(source: str) -> list[str]:
    """Return the modules of all graphs of a kind that the target does not refuse.

    Args:
        source: `ops`, `matrix`, `corpus` or `random`.
    """
    if source == "ops":
        return [emitted(alone(op, *shapes), 0) for op, shapes in OPS.values()]
    if source == "matrix":
        graphs = of_matrix()
    else:
        graphs = of_corpus() if source == "corpus" else random_graphs()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", snnir.SnnirWarning)
        accepted = [graph for graph in graphs if not snnir.check(graph, "mlir", backend="none")]
        return [emitted(graph) for graph in accepted]


def verify(bindings: str, texts: list[str]) -> None:
    """Parse and verify modules, all in one context, which takes no unknown dialect."""
    ir: Any = pytest.importorskip(bindings)
    with ir.Context() as context, ir.Location.unknown():
        assert not context.allow_unregistered_dialects
        for text in texts:
            module = ir.Module.parse(text)
            assert module.operation.verify()
            names = [function.name.value for function in module.body.operations]
            assert names == ["initial", "run", "trace"]


@pytest.mark.parametrize("bindings", BINDINGS)
@pytest.mark.parametrize(
    ("source", "least"),
    [("ops", len(OPS)), ("matrix", len(MATRIX) - len(LEARNING) - 1), ("corpus", 20),
     pytest.param("random", 200, marks=pytest.mark.slow)],
)  # fmt: skip
def test_modules_are_valid(bindings: str, source: str, least: int) -> None:
    texts = modules(source)
    assert len(texts) >= least
    verify(bindings, texts)


@pytest.mark.parametrize("bindings", BINDINGS)
def test_a_verifier_looks_into_the_loops(bindings: str) -> None:
    """The shapes of loops, the types in their bodies, and what they carry are all checked."""
    ir: Any = pytest.importorskip(bindings)
    text = emitted(tangled(), 0)
    broken = [
        ('iterator_types = ["parallel"', 'iterator_types = ["reduced"'),
        ("-> (d0, d2)>, affine_map<(d0, d1, d2) -> (d1, d2)>",
         "-> (d1, d2)>, affine_map<(d0, d1, d2) -> (d1, d2)>"),
        ("arith.addf", "arith.addi"),
        ("to %count step", "to %zero step"),
    ]  # fmt: skip
    with ir.Context(), ir.Location.unknown():
        ir.Module.parse(text)
        for old, new in broken:
            assert old in text
            with pytest.raises(Exception, match="error"):
                ir.Module.parse(text.replace(old, new, 1))


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_iree_has_all_that_scalar_ops_call(precision: str) -> None:
    """For any processor too, where rounding is a call of a library."""
    pytest.importorskip("iree.compiler")
    steps = scalar_steps()[0]
    built = neuron_graph([steps["pow"], steps["trunc"]], (10,))
    made: Any = snnir.compile(built, "mlir", level=0, cpu="generic", precision=precision)
    assert made.files["model.vmfb"]
