"""Programs whose names are words of the languages that targets print, in memory and from folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snnir
from snnir.dynamics import Dynamics
from snnir.dynamics.program import Let, State
from snnir.ir import FrozenDict, Graph, Input, Signal, Step
from snnir.streams import Kind
from snnir.tensors import tensor

_WORDS = (
    "T", "acc", "constant", "device", "double", "dtype", "expf", "float", "fma", "full", "i", "inf",
    "int", "jnp", "kind", "lambda", "len", "low", "main", "math", "mul", "n", "nan", "np", "self",
    "snn_fma", "state", "tl", "torch", "v", "void", "x", "xp",
)  # fmt: skip


def _all_words() -> Dynamics:
    """Multiply by a parameter of every name; keep states and values of others."""
    body = [Let("h0", "mul", ("given", _WORDS[0]))]
    for number, word in enumerate(_WORDS[1:], start=1):
        body.append(Let(f"h{number}", "mul", (body[-1].target, word)))
    body += [
        Let("const", "add", ("static", body[-1].target)),
        Let("char", "sub", ("register", "const")),
        Let("while", "add", ("const", "char")),
    ]
    return Dynamics(
        name="words",
        inputs=("given",),
        params=tuple((word, "1") for word in _WORDS),
        states=(State("static"), State("register")),
        body=tuple(body),
        updates=(("static", "const"), ("register", "char")),
        outputs=(("const", Kind.ANALOG), ("while", Kind.ANALOG)),
    )


def _in_other_places() -> Dynamics:
    """Have such names as input, states and results."""
    return Dynamics(
        name="places",
        inputs=("np",),
        params=(("full", "1"),),
        states=(State("state"), State("kind")),
        body=(
            Let("dtype", "mul", ("np", "full")),
            Let("lambda", "add", ("dtype", "state")),
            Let("low", "sub", ("kind", "lambda")),
        ),
        updates=(("state", "lambda"), ("kind", "low")),
        outputs=(("lambda", Kind.ANALOG), ("low", Kind.ANALOG)),
    )


@pytest.mark.parametrize("target", ["numpy", "torch", "xla", "native", "mlir"])
def test_words_are_names(target: str, tmp_path: Path) -> None:
    needed = {"torch": "torch", "xla": "jax", "mlir": "iree.compiler"}
    if target in needed:
        pytest.importorskip(needed[target], reason=f"target {target} needs it")
    editor = Graph({}, {}).edit()
    x = editor.add("x", Input(Signal(Kind.ANALOG, (5,))))
    for program in (_all_words(), _in_other_places()):
        given = {name: tensor(1 + k / 8) for k, (name, _) in enumerate(program.params)}
        made = editor.add(program.name, Step(program, FrozenDict(given)), [x])
        editor.outputs[program.name] = made
    graph = editor.graph().verify()
    values = np.random.default_rng(0).integers(-8, 9, (4, 2, 5)).astype(np.float32)
    wanted = snnir.run(graph, values).outputs
    compiled = snnir.compile(graph, target=target, level=0)
    for got in (compiled.run(values), snnir.run(compiled.save(tmp_path / "out"), values)):
        for name, value in wanted.items():
            np.testing.assert_array_equal(got.outputs[name], value)
