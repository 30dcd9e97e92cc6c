"""Tracing a step function with JAX: its jaxpr, its leaves by name, a scan over time entered."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from snnir.errors import SnnirError, error
from snnir.frontends.step_functions.jax_lower import (
    Known,
    Lowering,
    Refused,
    Stream,
    Value,
    dtype_of,
)
from snnir.frontends.step_functions.paths import closed_over, identifier, path_text, unique
from snnir.frontends.step_functions.traced import Array


@dataclass(frozen=True, eq=False)
class JaxStep:
    """One step as JAX has it, over flat leaves.

    Attributes:
        jaxpr: Closed: (fixed..., states..., inputs...) to (new states..., outputs...).
        fixed: Values of its first arguments, constants.
        states: Names of the state's leaves.
        paths: Their paths in the user's state.
        initial: Their values before the first step, with the batch axis if there is one.
        inputs: (name, shape, dtype) of every input of one step.
        outputs: Names of the results.
        given: The inputs [T, ...] of the user's example if it was a sequence.
        sizes: Largest absolute value of every input in the example; 1 where it is all zeros.
        notes: What was left out.
    """

    jaxpr: Any
    fixed: tuple[Known, ...]
    states: tuple[str, ...]
    paths: tuple[str, ...]
    initial: tuple[Array, ...]
    inputs: tuple[tuple[str, tuple[int, ...], Any], ...]
    outputs: tuple[str, ...]
    given: tuple[Array, ...] | None = None
    sizes: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class _Call:
    """What the user's function was called with and gave, flat."""

    jaxpr: Any
    params: list[Known]
    states: list[tuple[str, Array]]
    inputs: list[tuple[str, Array]]
    new_states: list[tuple[str, Any]]
    outputs: list[tuple[str, Any]]
    shape_fault: str = ""
    labels: dict[int, str] = field(default_factory=dict)


def jax_step(
    step_fn: Callable[..., Any], state: Any, example: Any, params: Any = None
) -> tuple[JaxStep, dict[int, str]]:
    """Trace a step function, or a function that scans one over time.

    Returns:
        The step, and what the function calls the arrays it closes over, by identity.

    Raises:
        SnnirError: SNN801 if it does not run or returns something else than (state, output),
            SNN804 if its course depends on values.
    """
    call = _trace(step_fn, state, example, params)
    entered = _enter(call)
    if entered is not None:
        return entered, call.labels
    if call.shape_fault:
        raise error("SNN801", call.shape_fault)
    names = unique([identifier(path, "state") for path, _ in call.states])
    given = unique([identifier(path, "input") for path, _ in call.inputs], names)
    return JaxStep(
        jaxpr=call.jaxpr,
        fixed=tuple(call.params),
        states=tuple(names),
        paths=tuple(path for path, _ in call.states),
        initial=tuple(array for _, array in call.states),
        inputs=tuple(
            (name, tuple(array.shape), array.dtype)
            for name, (_, array) in zip(given, call.inputs, strict=True)
        ),
        outputs=tuple(unique([identifier(path, "output") for path, _ in call.outputs])),
        sizes=tuple(_size(array) for _, array in call.inputs),
    ), call.labels


def _size(array: Array) -> float:
    values = np.abs(array.astype(np.float64))
    largest = float(values.max(initial=0.0))
    return largest if 0 < largest < np.inf else 1.0


def _trace(step_fn: Any, state: Any, example: Any, params: Any) -> _Call:
    import jax

    if not callable(step_fn):
        raise error("SNN801", f"from_jax takes a step function, got {type(step_fn).__name__}")
    if example is None:
        raise error("SNN801", "give example=, the input of one step")
    states, inputs = _leaves(state, "state"), _leaves(example, "example")
    held = _leaves(params, "params")
    if not inputs:
        raise error("SNN801", "the example has no array: a step function needs an input")
    arguments = (*(() if params is None else (params,)), state, example)
    arguments = jax.tree_util.tree_map(_array, arguments)
    try:
        jaxpr, shapes = jax.make_jaxpr(step_fn, return_shape=True)(*arguments)
    except jax.errors.ConcretizationTypeError as failure:
        raise _raised("SNN804", failure, "use jnp.where, which computes both") from None
    except (Exception, SystemExit) as failure:
        raise _raised("SNN801", failure, "the step function must run on its own first") from None
    new, out, fault = _results(shapes, state)
    return _Call(
        jaxpr,
        [Known(array, path or "params") for path, array in held],
        states,
        inputs,
        new,
        out,
        fault,
        closed_over(step_fn),
    )


def _array(leaf: Any) -> Any:
    import jax.numpy as jnp

    return jnp.asarray(leaf)


def _leaves(tree: Any, what: str) -> list[tuple[str, Array]]:
    import jax

    found = []
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        text = path_text(path)
        try:
            dtype_of(getattr(leaf, "dtype", np.dtype(np.float32)))
            array = np.asarray(_array(leaf))
            dtype_of(array.dtype)
        except (TypeError, ValueError):
            raise error(
                "SNN801", f"{what}{'.' if text else ''}{text} is a {type(leaf).__name__}, no array"
            ) from None
        except Refused as refusal:
            raise error(
                refusal.code, f"{what}{'.' if text else ''}{text} {refusal.reason}",
                hint=refusal.hint,
            ) from None  # fmt: skip
        if not array.size:
            raise error("SNN801", f"{what}{'.' if text else ''}{text} has an empty axis")
        found.append((text, array))
    return found


def _raised(code: str, failure: BaseException, hint: str) -> SnnirError:
    """Return the error for an exception of the function, with its line in the user's code."""
    import jax

    frames = traceback.extract_tb(failure.__traceback__)
    skipped = (str(Path(jax.__file__).parent), str(Path(__file__).parent), "<")
    own = [f for f in frames if not f.filename.startswith(skipped)]
    where = f"{Path(own[-1].filename).name}:{own[-1].lineno} ({own[-1].name}): " if own else ""
    text = (str(failure).strip().splitlines() or [""])[0][:200]
    return error(code, f"{where}{type(failure).__name__}: {text}", hint=hint)


def _results(shapes: Any, state: Any) -> tuple[list[Any], list[Any], str]:
    """Return the leaves of new state and output, and what is wrong with them if anything."""
    import jax

    tree = jax.tree_util.tree_structure
    flat = jax.tree_util.tree_flatten_with_path
    if not isinstance(shapes, tuple) or len(shapes) != 2:
        found = type(shapes).__name__
        every = [(path_text(path), leaf) for path, leaf in flat(shapes)[0]]
        return [], every, f"the step function returned a {found}, must return (state, output)"
    new, out = shapes
    fault = ""
    if tree(new) != tree(state):
        hint = ""
        if tree(out) == tree(state):
            hint = "; it seems to return (output, state)"
        fault = (
            f"the step function returned a state of another structure ({tree(new)} for "
            f"{tree(state)}){hint}"
        )
    else:
        leaves = jax.tree_util.tree_leaves(new)
        for (path, old), leaf in zip(_leaves(state, "state"), leaves, strict=True):
            if old.shape != leaf.shape or old.dtype != leaf.dtype:
                was, now = (f"{a.dtype}{list(a.shape)}" for a in (old, leaf))
                fault = f"state {path or 'leaf'} is {was} before the step and {now} after it"
                break
    results = [[(path_text(p), leaf) for p, leaf in flat(t)[0]] for t in (new, out)]
    return results[0], results[1], fault


# --- A scan over time ----------------------------------------------------------------------------


class _Finder(Lowering):
    """A walk that stops at the first scan over an input."""

    def __init__(self, lengths: dict[str, int]) -> None:
        super().__init__()
        self.lengths = lengths
        self.found: tuple[Any, list[Value]] | None = None

    def _results(self, eqn: Any, values: Sequence[Value]) -> Sequence[Value]:
        if eqn.primitive.name == "scan" and self.found is None:
            start = eqn.params["num_consts"] + eqn.params["num_carry"]
            over = [v for v in values[start:] if isinstance(v, Stream)]
            length = eqn.params["length"]
            if over and all(self.lengths.get(v.name) == length for v in over):
                self.found = (eqn, list(values))
                return [
                    Stream(f"scan:{i}", tuple(var.aval.shape)) for i, var in enumerate(eqn.outvars)
                ]
        return super()._results(eqn, values)


def _enter(call: _Call) -> JaxStep | None:
    """Return the body of the scan over time that a function is, None if it is a step itself."""
    if not any("scan" in str(eqn) for eqn in call.jaxpr.jaxpr.eqns):
        return None
    lengths = {f"input:{i}": x.shape[0] for i, (_, x) in enumerate(call.inputs) if x.ndim}
    finder = _Finder(lengths)
    finder.known_labels = call.labels
    args: list[Value] = [
        *call.params,
        *(Stream(f"state:{i}", a.shape) for i, (_, a) in enumerate(call.states)),
        *(Stream(f"input:{i}", a.shape) for i, (_, a) in enumerate(call.inputs)),
    ]
    results = finder.closed(call.jaxpr, args)
    if finder.found is None:
        return None
    eqn, values = finder.found
    consts, carry, xs = _parts(eqn, values)
    if not _is_over_time(consts, carry, xs) or eqn.params["reverse"]:
        return None
    if not carry or (call.states and all(isinstance(value, Known) for value in carry)):
        return None  # a loop of the step itself, such as jax.lax.map
    return _entered(call, eqn, (consts, carry, xs), results)


def _parts(eqn: Any, values: list[Value]) -> tuple[list[Value], list[Value], list[Value]]:
    first = eqn.params["num_consts"]
    second = first + eqn.params["num_carry"]
    return values[:first], values[first:second], values[second:]


def _is_over_time(consts: list[Value], carry: list[Value], xs: list[Value]) -> bool:
    """Whether the scan goes from given states over given inputs, with constants only besides."""
    return (
        all(isinstance(value, Known) for value in consts)
        and all(isinstance(v, Known) or v.name.startswith("state:") for v in carry)
        and all(isinstance(v, Stream) and v.name.startswith("input:") for v in xs)
    )


def _entered(call: _Call, eqn: Any, parts: Any, results: list[Value]) -> JaxStep:
    consts, carry, xs = parts
    paths, initial = [], []
    for value in carry:
        if isinstance(value, Known):
            paths.append(value.label or "state")
            initial.append(value.array)
        else:
            path, array = call.states[int(value.name.partition(":")[2])]
            paths.append(path)
            initial.append(array)
    names = unique([identifier(path, "state") for path in paths])
    inputs = [call.inputs[int(value.name.partition(":")[2])] for value in xs]
    given = unique([identifier(path, "input") for path, _ in inputs], names)
    outputs, chosen, notes = _sequences(call, len(carry), results)
    if not outputs:
        raise error("SNN801", "the scan over time gives no sequence that the function returns")
    return JaxStep(
        jaxpr=_choose(eqn.params["jaxpr"], [*range(len(carry)), *chosen]),
        fixed=tuple(value for value in consts if isinstance(value, Known)),
        states=tuple(names),
        paths=tuple(paths),
        initial=tuple(initial),
        inputs=tuple(
            (name, tuple(x.shape[1:]), x.dtype) for name, (_, x) in zip(given, inputs, strict=True)
        ),
        outputs=tuple(unique(outputs)),
        given=tuple(x for _, x in inputs),
        notes=tuple(notes),
    )


def _sequences(
    call: _Call, carried: int, results: list[Value]
) -> tuple[list[str], list[int], list[str]]:
    """Return names and places of the scan's sequences among the results, and notes on others."""
    leaves = [*call.new_states, *call.outputs]
    outputs, chosen, notes = [], [], []
    for (path, _), value in zip(leaves, results, strict=True):
        place = value.name.partition("scan:")[2] if isinstance(value, Stream) else ""
        if place and int(place) >= carried:
            outputs.append(identifier(path, "output"))
            chosen.append(int(place))
        elif not place:
            notes.append(
                f"the result '{path or 'output'}', computed from whole sequences, was left out"
            )
    return outputs, chosen, notes


def _choose(closed: Any, places: list[int]) -> Any:
    """Return a closed jaxpr with some of its results only."""
    import jax

    def body(*args: Any) -> list[Any]:
        found = jax.core.eval_jaxpr(closed.jaxpr, closed.consts, *args)
        return [found[place] for place in places]

    return jax.make_jaxpr(body)(*closed.in_avals)
