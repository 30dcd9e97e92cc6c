"""From a step function, or a program exported already, to a program in ATen's core operations."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch  # noqa: TID253  (this module is imported when a torch step function is)
import torch.utils._pytree as pytree  # noqa: TID253

from snnir.errors import error
from snnir.frontends.step_functions.export_call import (
    Call,
    Names,
    Tree,
    frames_of,
    own_name,
    raised,
)
from snnir.frontends.step_functions.export_lines import marked
from snnir.frontends.step_functions.paths import identifier, path_text, unique

#: Operations that are lowered as they are: taken apart, their rounding or structure is lost.
_WHOLE = (
    "linear.default", "matmul.default", "conv1d.default", "conv2d.default", "convolution.default",
    "lerp.Scalar", "lerp.Tensor", "addcmul.default", "addcdiv.default", "max_pool2d.default",
    "avg_pool2d.default", "adaptive_avg_pool2d.default", "silu.default", "square.default",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Program:
    """An exported program with what its arguments and results are.

    Attributes:
        exported: The program, in core operations.
        names: Of inputs, states and results.
        inputs, states: Nodes of the program that stand for them.
        examples: What the user gave for the inputs.
        initial: Every state before the first step, with the batch.
        outputs, updates: Nodes that stand for the results and the new states.
        labels: Names of tensors that are no parameters, by address and shape.
        buffers: Paths of the buffers that are states, the last ones.
    """

    exported: Any
    names: Names
    inputs: list[str]
    examples: list[torch.Tensor]
    states: list[str]
    initial: list[torch.Tensor]
    outputs: list[str]
    updates: list[str]
    labels: dict[tuple[int, tuple[int, ...]], str] = field(default_factory=dict)
    buffers: list[str] = field(default_factory=list)


def export(call: Call) -> Program:
    """Export a step function.

    Raises:
        SnnirError: SNN801, SNN803 or SNN804 if torch cannot.
    """
    given = [leaf.clone() for leaf in (*call.x.leaves, *call.initial())]
    try:
        with _quiet(), marked(call), torch.no_grad():
            exported = torch.export.export(call, tuple(given), strict=False)
    except torch.fx.experimental.symbolic_shapes.GuardOnDataDependentSymNode as failure:
        raise _branches(failure) from None
    except (Exception, SystemExit) as failure:
        if "data-dependent" in str(failure):
            raise _branches(failure) from None
        raise raised(failure, "torch.export does not take it, see the message", "SNN803") from None
    names = call.names
    core = _core(exported)
    unseen = [own_name(name) for name in core.graph_signature.buffers_to_mutate.values()]
    if unseen:
        message = f"a buffer that changes only sometimes: {', '.join(unseen)}"
        raise error("SNN805", message, hint="give it as state")
    inputs = list(core.graph_signature.user_inputs)
    results = list(core.graph_signature.user_outputs)
    split, ends = len(names.inputs), len(names.outputs)
    return Program(
        core, names, inputs[:split], list(call.x.leaves), inputs[split:], call.initial(),
        results[:ends], results[ends:], call.labels(),
    )  # fmt: skip


def _branches(failure: BaseException) -> Exception:
    own = frames_of(failure)
    line = (own[-1].line or "").strip() if own else ""
    hint = "use torch.where, which computes both, and tensors instead of .item()"
    what = f"its course depends on the data: {line}" if line else "its course depends on the data"
    where = f"{own[-1].filename.rpartition('/')[2]}:{own[-1].lineno} ({own[-1].name}): "
    return error("SNN804", f"{where if own else ''}{what}", hint=hint)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch logs of a failing export from being printed; the error says it."""
    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _core(exported: Any) -> Any:
    try:
        with _quiet(), torch.no_grad():
            return exported.run_decompositions(dict(_table()))
    except (Exception, SystemExit) as failure:
        text = (str(failure).strip().splitlines() or [type(failure).__name__])[0][:200]
        hint = "state in lists or objects of Python is not seen: make it a buffer, or give it"
        raise error("SNN803", f"torch.export cannot write it out: {text}", hint=hint) from None


@cache
def _table() -> dict[Any, Any]:
    """Return torch's own decompositions but those of operations that are lowered as they are."""
    table = dict(torch.export.default_decompositions())
    for name in _WHOLE:
        packet, _, overload = name.partition(".")
        table.pop(getattr(getattr(torch.ops.aten, packet), overload), None)
    return table


def read(exported: Any, x: Tree, state: Tree, order: str) -> Program:
    """Return a program that was exported already, by its own signature.

    Raises:
        SnnirError: SNN801 if it is not a step of the state and the example given.
    """
    _inputs(exported, x, state, order)  # before the work of writing it out
    core = _core(exported)
    signature = core.graph_signature
    inputs = _inputs(core, x, state, order)
    changed = {target: node for node, target in signature.buffers_to_mutate.items()}
    held = {t: node for node, t in signature.inputs_to_buffers.items() if t in changed}
    outputs, updates, paths = _results(core, state, order)
    states = unique([identifier(path, "state") for path in (*state.paths, *held)])
    names = Names(
        unique([identifier(path, "input") for path in x.paths], states), states,
        [*state.paths, *held], paths,
    )  # fmt: skip
    kept = [core.state_dict.get(target, core.constants.get(target)) for target in held]
    count = len(x.leaves) if order == "x-state" else len(state.leaves)
    first, second = inputs[:count], inputs[count:]
    if order != "x-state":
        first, second = second, first
    return Program(
        core, names, first, list(x.leaves), [*second, *held.values()],
        [*state.leaves, *(tensor.detach().clone() for tensor in kept)],
        outputs, [*updates, *(changed[target] for target in held)], buffers=list(held),
    )  # fmt: skip


def _inputs(exported: Any, x: Tree, state: Tree, order: str) -> list[str]:
    """Return the nodes of a program's arguments; their shapes must be those given."""
    nodes = {node.name: node for node in exported.graph.nodes if node.op == "placeholder"}
    inputs = [name for name in exported.graph_signature.user_inputs if name is not None]
    wanted = (*x.leaves, *state.leaves) if order == "x-state" else (*state.leaves, *x.leaves)
    if len(inputs) != len(wanted):
        raise error(
            "SNN801", f"the program takes {len(inputs)} tensors, {len(x.leaves)} of example and "
            f"{len(state.leaves)} of state are given",
            hint="state is the state it takes and returns, None if it keeps its own",
        )  # fmt: skip
    for name, leaf in zip(inputs, wanted, strict=True):
        shape = tuple(nodes[name].meta["val"].shape)
        if any(not isinstance(extent, int) for extent in shape):
            hint = "export it without dynamic_shapes"
            raise error("SNN804", f"its argument '{name}' has no fixed shape {shape}", hint=hint)
        if shape != tuple(leaf.shape):
            message = f"its argument '{name}' is {list(shape)}, given {list(leaf.shape)}"
            raise error("SNN801", message, hint="see order= and the shapes it was exported with")
    return inputs


def _results(exported: Any, state: Tree, order: str) -> tuple[list[str], list[str], list[str]]:
    """Return the nodes of outputs and of new states, and the outputs' names."""
    results = list(exported.graph_signature.user_outputs)
    tree = pytree.tree_unflatten(results, exported.call_spec.out_spec)
    new: Any = ()
    if state.leaves:
        if not isinstance(tree, (tuple, list)) or len(tree) != 2:
            raise error("SNN801", "the program does not return an output and a state")
        tree, new = tree if order == "x-state" else reversed(tree)
    updates = state.ordered(new)
    found, _ = pytree.tree_flatten_with_path(tree)
    paths = unique([identifier(path_text(path), "output") for path, _ in found])
    return [str(name) for _, name in found], [str(name) for name in updates], paths
