"""The reference interpreter of step programs; what it computes is what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.dynamics.program import Dynamics, Let
from snnir.dynamics.scalar import SCALAR_OPS

Array = npt.NDArray[Any]
Env = dict[str, Any]


def compile_step(program: Dynamics, dtype: Any) -> Callable[[Env], None]:
    """Return a function that runs the program's body on an environment of arrays.

    The environment maps every input, parameter and state to an array of `dtype`; each operation
    is one NumPy call, so it rounds once. Updates are not applied.
    """
    actions = [_action(let, dtype) for let in program.body]

    def run(env: Env) -> None:
        for action in actions:
            action(env)

    return run


def _action(let: Let, dtype: Any) -> Callable[[Env], None]:
    target = let.target
    if let.op == "cast":
        source = str(let.args[0])

        def cast(env: Env) -> None:
            env[target] = env[source].astype(dtype)

        return cast
    function = SCALAR_OPS[let.op].numpy
    getters = [_getter(arg, dtype) for arg in let.args]

    def apply(env: Env) -> None:
        env[target] = function(*(get(env) for get in getters))

    return apply


def _getter(arg: str | float, dtype: Any) -> Callable[[Env], Any]:
    if isinstance(arg, str):
        return lambda env: env[arg]
    constant = np.dtype(dtype).type(arg)
    return lambda env: constant


def neuron_function(
    program: Dynamics, params: Mapping[str, Array], dtype: Any, stream: Any
) -> Callable[..., list[Array]]:
    """Return the step of a population: (*inputs, states) to outputs; states are updated.

    What it takes must have the shape of the population, or `like` says which that is.

    Args:
        program: The step program.
        params: Parameters, broadcastable to the population.
        dtype: Element type of the arithmetic.
        stream: Element type of inputs and outputs.
    """
    body = compile_step(program, dtype)
    constants = {name: np.asarray(value, dtype) for name, value in params.items()}
    updates = [(name, _getter(value, dtype)) for name, value in program.updates]
    outputs = [name for name, _ in program.outputs]
    lasting = program.lasting

    def step(*arguments: Any, like: Any = None) -> list[Array]:
        *xs, states = arguments
        given = {
            name: x.astype(dtype, copy=False) for name, x in zip(program.inputs, xs, strict=True)
        }
        env: Env = {**constants, **states, **given}
        body(env)
        shape = (xs[0] if like is None else like).shape
        one = (1, *shape[1:])
        results = [_full(env[name], shape, stream) for name in outputs]
        fresh = {
            name: _full(get(env), one if name in lasting else shape, dtype) for name, get in updates
        }
        states.update(fresh)
        return results

    return step


def _full(value: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    array = np.asarray(value).astype(dtype, copy=False)
    return array if array.shape == shape else np.array(np.broadcast_to(array, shape))
