"""A torch step function, over flat lists of tensors: what is called, exported, and run again."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch  # noqa: TID253  (this module is imported when a torch step function is)
import torch.utils._pytree as pytree  # noqa: TID253

from snnir.errors import Diagnostic, SnnirError, error
from snnir.frontends.step_functions.export_kept import Kept, Watch
from snnir.frontends.step_functions.export_lines import is_own
from snnir.frontends.step_functions.paths import identifier, path_text, unique
from snnir.untouched import untouched

#: Orders of the two arguments and the two results.
ORDERS = ("x-state", "state-x")
_TYPES = (torch.float32, torch.bool, torch.int64, torch.int32, torch.uint8, torch.int8)


_HINT = (
    "a step returns (output, state) and is given (input, state); for one that has the state first "
    "say order='state-x'"
)


@dataclass(frozen=True, eq=False)
class Tree:
    """Tensors in a structure of the user's.

    Attributes:
        leaves: The tensors.
        paths: Dotted path of each, empty for a tensor alone.
        spec: The structure.
        all_leaves: Its leaves, None where the user has None.
    """

    leaves: tuple[torch.Tensor, ...]
    paths: tuple[str, ...]
    spec: Any
    all_leaves: tuple[Any, ...]

    @staticmethod
    def of(value: Any, what: str) -> Tree:
        """Return the tensors of a structure, each a tensor of its own.

        Raises:
            SnnirError: SNN801 for anything else in it, SNN807 for types graphs do not have.
        """
        found, spec = pytree.tree_flatten_with_path(value)
        leaves, paths, all_leaves = [], [], []
        for path, leaf in found:
            all_leaves.append(None if leaf is None else _HELD)
            if leaf is not None:
                leaves.append(_checked(leaf, f"{what}{pytree.keystr(path)}"))
                paths.append(path_text(path))
        return Tree(tuple(leaves), tuple(paths), spec, tuple(all_leaves))

    def of_two(self) -> Tree:
        """Return tensors of a batch of one as of a batch of two, where its axis can be told."""
        leaves = [
            leaf.repeat(2, *[1] * (leaf.ndim - 1)) if leaf.shape[:1] == (1,) else leaf
            for leaf in self.leaves
        ]
        return replace(self, leaves=tuple(leaves))

    def ordered(self, value: Any) -> list[Any]:
        """Return the leaves of a like structure, such as a new state, in this one's order.

        Raises:
            SnnirError: SNN801 if it is another structure.
        """
        found, _ = pytree.tree_flatten_with_path(value)
        by_path = {path_text(path): leaf for path, leaf in found if leaf is not None}
        if set(by_path) != set(self.paths):
            one, two = (
                ", ".join(p or "a tensor" for p in sorted(ps)) for ps in (self.paths, by_path)
            )
            raise error(
                "SNN801", f"the step is given a state of {one} and returns {two}", hint=_HINT
            )
        return [by_path[path] for path in self.paths]

    def build(self, leaves: Sequence[Any]) -> Any:
        """Return the structure with other tensors."""
        given = iter(leaves)
        filled = [None if item is None else next(given) for item in self.all_leaves]
        return pytree.tree_unflatten(filled, self.spec)


#: Stands for a tensor in a structure.
_HELD = object()


def _checked(leaf: Any, name: str) -> torch.Tensor:
    """Return a copy: two leaves that are one tensor would be one input of an exported program."""
    if not isinstance(leaf, torch.Tensor):
        raise error("SNN801", f"{name} is a {type(leaf).__name__}, not a tensor")
    if leaf.dtype not in _TYPES:
        dtype = str(leaf.dtype).removeprefix("torch.")
        message = f"{name} is {dtype}, graphs compute in float32"
        raise error("SNN807", message, hint="convert it with .float()")
    if not leaf.numel():
        raise error("SNN801", f"{name} has an empty axis")
    return leaf.detach().clone()


@dataclass
class Names:
    """What the leaves of a step function are called, in order of its flat arguments."""

    inputs: list[str]
    states: list[str]
    paths: list[str]  # of the states, in the user's structure
    outputs: list[str] = field(default_factory=list)


@dataclass
class Found:
    """What calling a step function told; it outlives the calls, which are undone.

    Attributes:
        kept: The states modules keep in themselves.
        outputs: Names of the results.
    """

    kept: list[Kept] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)


#: Prefixes of the names of modules in a call, which are not the user's.
_STEP, _USED = "step.", "used_"


def own_name(path: str) -> str:
    """Return a path of a call's parameter, buffer or attribute as the user has it."""
    path = "" if path == _STEP[:-1] else path
    return path.removeprefix(_STEP).removeprefix(_USED)


class Call(torch.nn.Module):
    """A step function as (inputs..., states...) to (outputs..., new states...), all flat.

    Args:
        step: The function or module.
        x, state: What it is given, with the batch if there is one.
        order: One of `ORDERS`.
    """

    def __init__(self, step: Callable[..., Any], x: Tree, state: Tree, order: str) -> None:
        super().__init__()
        self.step = step
        if not isinstance(step, torch.nn.Module):
            for name, module in _modules_of(step).items():
                self.add_module(f"{_USED}{name}", module)
        self.x, self.state, self.order = x, state, order
        self.has_state = bool(state.leaves)
        self.found = Found()

    def labels(self) -> dict[tuple[int, tuple[int, ...]], str]:
        """Return what the user calls the tensors that are neither parameters nor buffers.

        Returns:
            Names by the address of the data and the shape.
        """
        found: dict[tuple[int, tuple[int, ...]], str] = {}
        named = {} if isinstance(self.step, torch.nn.Module) else _used_by(self.step)
        for path, module in self.named_modules():
            named.update({f"{path}.{key}": value for key, value in vars(module).items()})
        for name, value in named.items():
            if isinstance(value, torch.Tensor):
                found.setdefault((value.data_ptr(), tuple(value.shape)), own_name(name))
        return found

    @property
    def names(self) -> Names:
        """The names of inputs, states and results."""
        held = (name for kept in self.found.kept for name in kept.names)
        paths = [*self.state.paths, *held]
        states = unique([identifier(path, "state") for path in paths])
        inputs = unique([identifier(path, "input") for path in self.x.paths], states)
        return Names(inputs, states, paths, self.found.outputs)

    def initial(self) -> list[torch.Tensor]:
        """Return every state before the first step, with the batch."""
        return [*self.state.leaves, *(leaf for kept in self.found.kept for leaf in kept.initial())]

    def forward(self, *flat: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run one step from a given state; what modules keep is put there and put back."""
        given = len(self.x.leaves), len(self.x.leaves) + len(self.state.leaves)
        before = [kept.slot.get() for kept in self.found.kept]
        rest = flat[given[1] :]
        for kept in self.found.kept:
            kept.put(rest[: len(kept.leaves)])
            rest = rest[len(kept.leaves) :]
        try:
            outputs, states = self.call(flat[: given[0]], flat[given[0] : given[1]])
            held = [leaf for kept in self.found.kept for leaf in kept.read()]
        finally:
            for kept, value in zip(self.found.kept, before, strict=True):
                kept.slot.put(value)
        return (*outputs, *states, *held)

    def call(
        self, xs: Sequence[torch.Tensor], states: Sequence[torch.Tensor]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Call the user's function as the user would; return its outputs and new states, flat."""
        x = self.x.build(xs)
        if not self.has_state:
            return self._outputs(self.step(x)), []
        state = self.state.build(states)
        first = self.order == "x-state"
        result = self.step(x, state) if first else self.step(state, x)
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            wanted = "(output, state)" if first else "(state, output)"
            kind = type(result).__name__
            many = f" of {len(result)}" if isinstance(result, (tuple, list)) else ""
            raise error("SNN801", f"the step returns a {kind}{many}, not {wanted}", hint=_HINT)
        output, new = result if first else reversed(result)
        return self._outputs(output), self._states(new, states)

    def _outputs(self, output: Any) -> list[torch.Tensor]:
        found, _ = pytree.tree_flatten_with_path(output)
        tensors = [(path, leaf) for path, leaf in found if isinstance(leaf, torch.Tensor)]
        if not tensors:
            raise error("SNN801", "the step returns no tensor as its output")
        self.found.outputs = unique([identifier(path_text(path), "output") for path, _ in tensors])
        return [leaf for _, leaf in tensors]

    def _states(self, new: Any, states: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        leaves = self.state.ordered(new)
        for path, one, two in zip(self.names.states, states, leaves, strict=False):
            if not isinstance(two, torch.Tensor):
                message = f"state '{path}' becomes a {type(two).__name__}, not a tensor"
                raise error("SNN801", message)
            if one.shape != two.shape:
                message = f"state '{path}' is {list(one.shape)} and becomes {list(two.shape)}"
                hint = "give the state in the shape it has from step to step"
                raise error("SNN801", message, hint=hint)
        return leaves


def _modules_of(step: Callable[..., Any]) -> dict[str, torch.nn.Module]:
    """Return the modules a function uses, by the names it has for them."""
    owner = getattr(getattr(step, "func", step), "__self__", None)
    if isinstance(owner, torch.nn.Module):
        return {"module": owner}
    found = _used_by(step)
    return {name: m for name, m in found.items() if isinstance(m, torch.nn.Module)}


def _used_by(step: Callable[..., Any]) -> dict[str, Any]:
    """Return what a function reads that is not its own: globals and variables around it."""
    function = inspect.unwrap(getattr(step, "func", step))
    try:
        used = inspect.getclosurevars(function)
    except (TypeError, ValueError):
        return {}
    return {**used.globals, **used.nonlocals}


def check_mode(call: Call) -> None:
    """Raise SNN806 for layers that are random, or mix the samples, in training mode."""
    kinds = (torch.nn.modules.batchnorm._BatchNorm, torch.nn.modules.dropout._DropoutNd)
    found = [
        (own_name(path), module)
        for path, module in call.named_modules()
        if module.training and isinstance(module, kinds)
    ]
    if found:
        raise SnnirError(
            Diagnostic(
                "SNN806", f"is a {type(module).__name__} in training mode", path,
                hint="call .eval() on the module",
            )
            for path, module in found
        )  # fmt: skip


def warm_up(call: Call) -> None:
    """Call a step function as it stands, and find what its modules keep.

    Raises:
        SnnirError: SNN801 if it cannot be called, SNN805 if it counts in Python, SNN808 if it
            remembers where nothing is seen.
    """
    watch = Watch(call, own_name)
    with untouched(call):
        watch.look()
        first = _two_calls(call, watch)
        call.found.kept = watch.kept()
    with untouched(call):
        again = _two_calls(call)
    for one, two in zip(first, again, strict=True):
        if not torch.equal(one.nan_to_num(), two.nan_to_num()):
            raise error(
                "SNN808", "the step gives something else when it starts again from the same state",
                hint="it keeps state outside its modules; give it as state",
            )  # fmt: skip


def _two_calls(call: Call, watch: Watch | None = None) -> list[torch.Tensor]:
    """Return the outputs of two steps on some input."""
    states: Sequence[torch.Tensor] = call.state.leaves
    found: list[torch.Tensor] = []
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        xs = [_random(x, generator) for x in call.x.leaves]
        try:
            outputs, states = call.call(xs, [s.clone() for s in states])
        except SnnirError:
            raise
        except (Exception, SystemExit) as failure:
            raise raised(failure) from None
        found += [output.clone() for output in outputs]
        if watch is not None:
            watch.look()
    return found


def _random(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return numbers as large as those of an example, whole ones as they are."""
    if x.dtype != torch.float32:
        return x.clone()
    scale = float(x.abs().max()) or 1.0
    return torch.rand(tuple(x.shape), generator=generator) * scale


def raised(failure: BaseException, hint: str | None = None, code: str = "SNN801") -> SnnirError:
    """Return the error for an exception of the user's function, with its line."""
    own = frames_of(failure)
    where = f"{Path(own[-1].filename).name}:{own[-1].lineno} ({own[-1].name}): " if own else ""
    text = (str(failure).strip().splitlines() or [""])[0][:200]
    message = f"{where}the step raised {type(failure).__name__}: {text}"
    return error(code, message, hint=hint or "the step function must run on its own first")


def frames_of(failure: BaseException) -> list[traceback.FrameSummary]:
    """Return the frames of an exception that are the user's."""
    return [f for f in traceback.extract_tb(failure.__traceback__) if is_own(f.filename)]
