"""From a jaxpr to a traced step: the walk over its equations.

The rules, one per primitive, are in `jax_elementwise`, `jax_shapes` and `jax_products`. Calls are
inlined, a custom-jvp or custom-vjp function by what it computes, and equations of constants are
evaluated by JAX itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from snnir.errors import Diagnostic
from snnir.frontends.step_functions.traced import Array, Equation, Operand, Shape

#: Scans inside a step are unrolled up to this many rounds.
LONGEST_LOOP = 64
#: Element types of JAX by what streams call them.
_DTYPES = {"float32": "float", "bool": "bool"}
#: Name of what comes of random numbers: refused once, where they are drawn.
_RANDOM = "random"
_NARROW = ("int8", "int16", "uint8", "uint16", "uint32")
#: What could exceed them; sums and products are checked where they are lowered.
_GROWS = ("integer_pow", "square", "pow", "reduce_sum", "dot_general", "conv_general_dilated")
_WHOLE = ("int8", "int16", "int32", "uint8", "uint16", "uint32")


class Refused(Exception):
    """An equation has no counterpart."""

    def __init__(self, code: str, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.code, self.reason, self.hint = code, reason, hint


@dataclass(frozen=True, eq=False)
class Known:
    """A value that depends on neither input nor state.

    Attributes:
        array: It.
        label: Where it came from for people, such as `fc1.weight`; empty for Python numbers.
        computed: Whether arithmetic on constants gave it.
    """

    array: Array
    label: str = ""
    computed: bool = False

    @property
    def shape(self) -> Shape:
        """Its shape."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> str:
        """One of `traced.DTYPES`."""
        return dtype_of(self.array.dtype)

    @property
    def is_uniform(self) -> bool:
        """Whether all elements are the same."""
        flat = self.array.reshape(-1)
        return bool(flat.size and (flat == flat[0]).all())


@dataclass(frozen=True)
class Stream:
    """A value that depends on input or state."""

    name: str
    shape: Shape
    dtype: str = "float"


Value = Known | Stream
#: A rule takes the walk, the operands, the parameters and the results' types.
Rule = Callable[["Lowering", Sequence[Any], dict[str, Any], Sequence[Any]], Any]
RULES: dict[str, Rule] = {}


def rule(*primitives: str) -> Callable[[Rule], Rule]:
    """Decorator: a function says what some primitives mean."""

    def define(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(primitives, function))
        return function

    return define


def dtype_of(dtype: Any) -> str:
    """Return what streams call an element type.

    Raises:
        Refused: If they have none.
    """
    name = str(dtype)
    if name in _DTYPES:
        return _DTYPES[name]
    if name in _WHOLE:
        return "int"
    if name.startswith("key<"):
        raise Refused("SNN806", "draws random numbers", "draw them outside and make them an input")
    hint = "write real and imaginary parts" if "complex" in name else "compute in float32"
    raise Refused("SNN807", f"computes with {name}, graphs with float32", hint)


class Lowering:
    """One walk.

    Args:
        compiled: Divide constants as XLA does when it compiles: a / b is a * (1 / b) then where a
            is computed itself and b is not.

    Attributes:
        equations: What was found so far.
        constants: Arrays that equations name.
        labels: What people call them.
        problems: Everything that has no counterpart.
        notes: Roundings that differ from JAX's own, as sentences.
        known_labels: What people call some of the arrays in the jaxpr, by identity.
    """

    def __init__(self, compiled: bool = False) -> None:
        self.compiled = compiled
        self.equations: list[Equation] = []
        self.constants: dict[str, Array] = {}
        self.labels: dict[str, str] = {}
        self.problems: list[Diagnostic] = []
        self.notes: dict[str, None] = {}
        self.known_labels: dict[int, str] = {}
        self._constant_names: dict[int, tuple[str, Array]] = {}
        self._where = ("", "")
        self._count = 0

    # --- What rules use --------------------------------------------------------------------------

    def emit(
        self,
        op: str,
        *operands: Value | float,
        shape: Shape | None = None,
        dtype: str = "float",
        **attributes: Any,
    ) -> Stream:
        """Add an equation and return its result; the shape is that of the first stream."""
        if shape is None:
            shape = next(o.shape for o in operands if isinstance(o, Stream))
        self._count += 1
        name = f"e{self._count}"
        given = tuple(self.operand(operand) for operand in operands)
        where, what = self._where
        self.equations.append(Equation(op, given, name, shape, dtype, attributes, where, what))
        return Stream(name, shape, dtype)

    def operand(self, value: Value | float) -> Operand:
        """Return a value as an operand: a name, or a number if it is a plain one."""
        if isinstance(value, Stream):
            return value.name
        if not isinstance(value, Known):
            return float(value)
        if value.is_uniform and value.dtype != "bool":
            if not value.label:
                return float(value.array.reshape(-1)[0])
            value = replace(value, array=value.array.reshape(-1)[0])
        return self.constant(value)

    def constant(self, value: Known) -> str:
        """Return the name of a constant array."""
        known = self._constant_names.get(id(value.array))
        if known is not None:
            return known[0]
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value.array)
        self.labels[name] = value.label
        self._constant_names[id(value.array)] = (name, value.array)
        return name

    def note(self, text: str) -> None:
        """Say something about the import."""
        self.notes[text] = None

    def full(self, value: Value, shape: Shape) -> Value:
        """Return a value whose shape is `shape`; a smaller stream is repeated."""
        if isinstance(value, Known) or value.shape == shape:
            return value
        axes = tuple(range(len(shape) - len(value.shape), len(shape)))
        return self.emit("broadcast", value, shape=shape, dtype=value.dtype, axes=axes)

    # --- The walk --------------------------------------------------------------------------------

    def inline(self, jaxpr: Any, consts: Sequence[Value], args: Sequence[Value]) -> list[Value]:
        """Walk over a jaxpr and return its results.

        Args:
            jaxpr: An open jaxpr.
            consts: Values of its constants.
            args: Values of its arguments.
        """
        env: dict[Any, Value] = {}
        env.update(zip(jaxpr.constvars, consts, strict=True))
        env.update(zip(jaxpr.invars, args, strict=True))

        def read(atom: Any) -> Value:
            if not hasattr(atom, "val"):
                return env[atom]
            return self._known(atom.val, atom.aval.dtype)

        for eqn in jaxpr.eqns:
            results = self._equation(eqn, [read(atom) for atom in eqn.invars])
            env.update(zip(eqn.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def closed(self, closed: Any, args: Sequence[Value]) -> list[Value]:
        """Walk over a closed jaxpr, or an open one without constants."""
        if not hasattr(closed, "consts"):
            return self.inline(closed, [], args)
        consts = [self._known(value) for value in closed.consts]
        return self.inline(closed.jaxpr, consts, args)

    def _known(self, value: Any, dtype: Any = None) -> Known:
        label = self.known_labels.get(id(value), "")
        if str(getattr(value, "dtype", "")).startswith("key<"):
            import jax

            value = jax.random.key_data(value)  # what draws with it is refused by name
        return Known(np.asarray(value, dtype), label)

    def _equation(self, eqn: Any, values: Sequence[Value]) -> Sequence[Value]:
        outer = self._where
        self._where = (where(eqn) or outer[0], what(eqn))
        try:
            inner = _called(eqn)
            return self._results(eqn, values) if inner is None else self.closed(inner, values)
        except Refused as refusal:
            self._refuse(refusal)
            name = _RANDOM if refusal.code == "SNN806" else "unknown"
            return [Stream(name, tuple(var.aval.shape)) for var in eqn.outvars]
        finally:
            self._where = outer

    def _results(self, eqn: Any, values: Sequence[Value]) -> Sequence[Value]:
        name = eqn.primitive.name
        if any(isinstance(value, Stream) and value.name == _RANDOM for value in values):
            return [Stream(_RANDOM, tuple(var.aval.shape)) for var in eqn.outvars]
        if name.startswith("random_") or name == "threefry2x32":
            raise Refused("SNN806", "draws random numbers", "make them an input of the step")
        if all(isinstance(value, Known) for value in values):
            return _evaluate(eqn, values, self.compiled)
        for var in (*eqn.invars, *eqn.outvars):
            dtype_of(var.aval.dtype)
        if name not in RULES:
            raise Refused("SNN803", "has no counterpart in a graph")
        outs = [var.aval for var in eqn.outvars]
        if name in _GROWS and str(outs[0].dtype) in _NARROW:
            hint = "compute in int32 or float32"
            raise Refused("SNN807", f"computes with {outs[0].dtype}, which wraps around", hint)
        found = RULES[name](self, list(values), dict(eqn.params), outs)
        return found if isinstance(found, list) else [found]

    def _refuse(self, refusal: Refused) -> None:
        place, text = self._where
        message = f"{place}: `{text}` {refusal.reason}" if place else f"`{text}` {refusal.reason}"
        found = Diagnostic(refusal.code, message, hint=refusal.hint)
        if found not in self.problems:
            self.problems.append(found)


_CALLS = {
    "jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call",
    "custom_vjp_call_jaxpr", "checkpoint", "remat", "remat2", "custom_lin",
}  # fmt: skip


_MOVES = ("convert_element_type", "broadcast_in_dim", "reshape", "squeeze", "copy", "copy_p")


def _called(eqn: Any) -> Any:
    """Return the jaxpr an equation only calls, None if it does something itself."""
    if eqn.primitive.name not in _CALLS:
        return None
    keys = ("jaxpr", "call_jaxpr", "fun_jaxpr")
    return next((eqn.params[key] for key in keys if key in eqn.params), None)


def _evaluate(eqn: Any, values: Sequence[Value], compiled: bool) -> list[Value]:
    """Return what JAX itself computes; a label is inherited where there is only one."""
    import jax.numpy as jnp

    arrays = [jnp.asarray(v.array, dtype=v.array.dtype) for v in values if isinstance(v, Known)]
    computed = [v.computed for v in values if isinstance(v, Known)]
    if compiled and eqn.primitive.name == "div" and computed == [True, False]:
        one = jnp.ones((), arrays[1].dtype)
        found = arrays[0] * (one / arrays[1])
    else:
        found = eqn.primitive.bind(*arrays, **eqn.params)
    results = found if eqn.primitive.multiple_results else [found]
    labels = {v.label for v in values if isinstance(v, Known) and v.label}
    label = labels.pop() if len(labels) == 1 else "constant" if labels else ""
    is_new = eqn.primitive.name not in _MOVES or any(computed)
    return [_known(result, label, is_new) for result in results]


def _known(result: Any, label: str, computed: bool) -> Known:
    if str(result.dtype).startswith("key<"):
        raise Refused("SNN806", "draws random numbers", "make them an input of the step")
    return Known(np.asarray(result), label, computed)


def where(eqn: Any) -> str:
    """Return the user's line of an equation, such as `model.py:12 (step)`; empty if unknown."""
    from pathlib import Path

    try:
        from jax._src import source_info_util

        frame = source_info_util.user_frame(eqn.source_info.traceback)
    except Exception:  # JAX's private module: a message without a line is still a message
        return ""
    if frame is None:
        return ""
    return f"{Path(frame.file_name).name}:{frame.start_line} ({frame.function_name})"


def what(eqn: Any) -> str:
    """Return primitive and operand types, such as `dot_general float32[3] float32[3,4]`."""
    types = [atom.aval.str_short() for atom in eqn.invars[:4]]
    return " ".join([eqn.primitive.name, *types])[:120]
