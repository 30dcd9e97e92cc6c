"""Printed step programs against the interpreter, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

import snnir
from snnir.dynamics import Dynamics, dynamics, exp, maximum, select, trunc
from snnir.dynamics.evaluate import neuron_function
from snnir.dynamics.fused import snn_fma
from snnir.dynamics.scalar import FLOAT_OPS
from snnir.ir import Step
from snnir.targets.numpy_sim.emit import step_source
from tests.helpers import lif_step
from tests.strategies import adaptive, lif_steps


def full(value: Any, like: Any, kind: Any) -> Any:
    array = np.asarray(value).astype(kind, copy=False)
    return array if array.shape == like.shape else np.array(np.broadcast_to(array, like.shape))


def check(program: Dynamics, params: dict[str, Any]) -> None:
    inner = np.float64 if program.dtype == "f64" else np.float32
    source = step_source(program, "step", f"np.{np.dtype(inner).name}")
    names: dict[str, Any] = {"np": np, "full": full, "dtype": np.float32, "snn_fma": snn_fma}
    exec(compile(source, "step", "exec"), names)
    interpreted = neuron_function(program, params, inner, np.float32)
    constants = {name: np.asarray(value).astype(inner) for name, value in params.items()}
    shape = (40, len(program.inputs), 2, 5)
    xs = (np.random.default_rng(0).standard_normal(shape) * 1.3).astype(np.float32)
    start = {
        s.name: np.full(
            (2, 5), params[s.initial] if isinstance(s.initial, str) else s.initial, inner
        )
        for s in program.states
    }
    one, two = dict(start), dict(start)
    with np.errstate(all="ignore"):
        for now in xs:
            for a, b in zip(
                interpreted(*now, one), names["step"](*now, two, **constants), strict=True
            ):
                np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))
            for name, value in one.items():
                np.testing.assert_array_equal(value.view(np.uint8), two[name].view(np.uint8))


@given(lif_steps())
def test_the_lif_family(step: Step) -> None:
    check(step.program, {name: p.numpy() for name, p in step.params.items()})


@dynamics(params={"a": "1", "b": "1"}, states={"v": 0.5})
def nested(x: Any, v: Any, a: Any, b: Any) -> Any:
    """Every way in which dropping a parenthesis would change a rounding."""
    h = a - (v - (b - x))
    h = h - (x + v) + (a - b)
    h = h / (a * (b / 3.0)) * (x / (v / 7.0 + 2.0))
    h = -(h + x) - -(v * x)
    h = (x * v) * h - x * (v * h)
    chosen = select(~((h > a) & (x <= b)) | (v >= h), h, -h)
    return {"v": maximum(abs(trunc(chosen * 8.0) / 8.0 - x), exp(-abs(h))) ** 0.5}, h > x


@pytest.mark.parametrize("program", [nested, adaptive])
def test_custom_programs(program: Dynamics) -> None:
    values = {"a": 0.7, "b": 1.9, "beta": 0.5, "theta": 1.0}
    wanted = {name for name, _ in program.params}
    check(program, {k: np.float32(v) for k, v in values.items() if k in wanted})


def test_every_scalar_op_is_printed() -> None:
    """Each operation on its own; `nested` and the family cover their combinations."""
    from snnir.dynamics import Let, State
    from snnir.streams import Kind

    for name, op in FLOAT_OPS.items():
        takes = op.takes
        lets = [Let("c0", "gt", ("x", 0.25)), Let("c1", "lt", ("v", 0.5))]
        arguments: tuple[Any, ...] = ("c0", "c1") if takes == "bool" else ("x", "v")
        arguments = ("c0", "x", "v") if name == "select" else (*arguments, "x")[: op.arity]
        lets.append(Let("y", name, arguments))
        if op.gives == "bool":
            lets.append(Let("z", "cast", ("y",)))
        out = "z" if op.gives == "bool" else "y"
        program = Dynamics(
            name, ("x",), (), (State("v", 0.75),), tuple(lets), (("v", "x"),), ((out, Kind.ANALOG),)
        )
        program.types()
        check(program, {})


def test_fixed_point_runs_in_float64() -> None:
    step = lif_step(membrane="fixed", synapse="fixed")
    assert isinstance(step.dynamics, snnir.LifStep)
    assert step.program.dtype == "f64"
