"""Recording a concrete run of a torch module: which operation read which result of which other.

Modules that snnir knows are leaves: their call is one event and what they compute inside is not
looked at. Between them, torch functions on values that derive from the input are events too.
Nothing is attached to the model itself: hooks and the function mode are global for the time of
the run.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch  # noqa: TID253  (this module is imported when a torch model is)
from torch.overrides import TorchFunctionMode  # noqa: TID253

from snnir.errors import SnnirError, error
from snnir.frontends.torch_nets.events import (
    INPUT,
    LEADS,
    Bad,
    Constant,
    Event,
    Maker,
    Operand,
    Ref,
)

Leaf = Callable[["Recorder", str, Any, tuple[Any, ...], Any], None]
_SKIPPED = (str(Path(torch.__file__).parent), str(Path(__file__).parent))


def location() -> str:
    """Return `file:line` of the innermost frame outside torch and this package."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith((*_SKIPPED, "<")):
            return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"


class Recorder(TorchFunctionMode):
    """Records one run.

    Args:
        paths: Name of every submodule by its identity.
        leaf: Returns what to do with a module's call, or None to look inside.
        batch: Samples of the recorded batch.
        steps: Steps of the recorded input.
    """

    def __init__(
        self, paths: Mapping[int, str], leaf: Callable[[Any], Leaf | None], batch: int, steps: int
    ) -> None:
        super().__init__()
        self.paths, self.leaf, self.batch = paths, leaf, batch
        self.events: list[Event] = []
        self.calls: dict[str, int] = {}
        self.inside: list[str] = []
        self.depth = 0
        self.current = 0
        self.longest_lag = max(1, steps - 2)
        self.fills: dict[int, tuple[Any, str, list[Ref]]] = {}
        self.readouts: dict[int, tuple[Any, Ref, str]] = {}
        self._known: dict[int, tuple[Any, Ref | Bad]] = {}
        self._handlers = _handlers()

    # --- Values ---------------------------------------------------------------------------------

    def mark(self, tensor: Any, ref: Ref | Bad) -> None:
        """Remember where a tensor came from; the tensor is kept alive so its identity stays.

        Raises:
            SnnirError: SNN807 for a value in another precision, as autocast makes them.
        """
        is_value = isinstance(ref, Ref) and ref.result == "out" and tensor.is_floating_point()
        if is_value and tensor.dtype != torch.float32:
            dtype = str(tensor.dtype).removeprefix("torch.")
            raise self.refuse(
                "SNN807", f"{location()}: a value is {dtype}, graphs compute in float32",
                "leave autocast, and keep constants in float32",
            )  # fmt: skip
        self._known[id(tensor)] = (tensor, ref)

    def known(self, tensor: Any) -> Ref | Bad | None:
        """Return where a tensor came from, None if not from the input."""
        found = self._known.get(id(tensor))
        return found[1] if found is not None else None

    def operand(self, tensor: Any) -> Operand:
        """Return a tensor as an operand.

        Raises:
            SnnirError: SNN803 if it comes from something snnir has no op for.
        """
        found = self.known(tensor)
        if isinstance(found, Bad):
            raise self.refuse("SNN803", f"{found.reason} ({found.where}) has no counterpart")
        return Constant(tensor) if found is None else found

    def derives(self, value: Any) -> bool:
        """Whether any tensor in a nested value derives from the input."""
        return any(self.known(t) is not None for t in tensors_in(value))

    def refuse(self, code: str, message: str, hint: str | None = None) -> SnnirError:
        """Return the error for what is being recorded now, with the module it happens in."""
        node = self.inside[-1] if self.inside and self.inside[-1] else None
        return error(code, message, node=node, hint=hint)

    # --- Events ---------------------------------------------------------------------------------

    def record(
        self,
        key: tuple[Any, ...],
        operands: Sequence[Operand],
        make: Maker,
        path: str,
        lead: str | None = None,
        time: int | None = None,
        **extra: Any,
    ) -> int:
        """Add an event and return its number; layout and time follow from the operands."""
        refs = [o for o in operands if isinstance(o, Ref)]
        if lead is None:
            lead = self.common_lead(refs)
        if time is None and lead == "B":
            time = self.step_of(refs)
        self.events.append(Event(key, tuple(operands), make, time, lead, path, location(), **extra))
        return len(self.events) - 1

    def step_of(self, refs: Sequence[Ref]) -> int | None:
        """Return the step in which values are used: theirs, or the one after it.

        What is computed from the last step's values alone, such as a recurrent current, belongs
        to the step that the model is in.
        """
        times = [ref.time for ref in refs if ref.time is not None]
        if not times:
            return None
        # Further back than that is the first step of another loop over the same steps.
        if not 0 < self.current - max(times) <= self.longest_lag:
            self.current = max(times)
        return self.current

    def when(self, ref: Ref) -> int | None:
        """Return the step in which a value is used; None for a sequence."""
        return None if ref.time is None else self.step_of([ref])

    def common_lead(self, refs: Sequence[Ref]) -> str:
        """Return the layout that operands share.

        Raises:
            SnnirError: SNN803 if a whole sequence meets a single step.
        """
        leads = {ref.lead for ref in refs}
        if len(leads) > 1:
            raise self.refuse(
                "SNN803", f"{location()}: combines a whole sequence with a single step"
            )
        return leads.pop()

    def result(self, event: int, name: str = "out") -> Ref:
        """Return a result of an event."""
        made = self.events[event]
        return Ref(event, name, made.lead, made.time)

    def name(self, stem: str) -> str:
        """Return the path for a function called in the current module."""
        prefix = self.inside[-1] if self.inside else ""
        return f"{prefix}.{stem}" if prefix else stem

    # --- Hooks ----------------------------------------------------------------------------------

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = function(*args, **kwargs)
        if self.depth == 0:
            name = function_name(function)
            self.depth += 1  # what handlers call is not part of the model
            try:
                self._handle(name, args, kwargs, out)
            finally:
                self.depth -= 1
        return out

    def _handle(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        if name in RANDOM:
            raise self.refuse(
                "SNN806", f"{location()}: draws random numbers with torch's '{name}'",
                "a graph has no randomness; make the noise an input",
            )  # fmt: skip
        if not self.derives((args, kwargs)):
            return
        if name in CONCRETE:
            raise self.refuse(
                "SNN804",
                f"{location()}: the model turns a value that depends on its input into a Python "
                f"value ('{name}'), so its course may depend on the data",
                "a graph has one course for all data; use torch operations such as torch.where",
            )
        if name in self._handlers:
            self._handlers[name](self, name, args, kwargs, out)
            return
        for tensor in tensors_in(out):
            self.mark(tensor, Bad(f"torch's '{name}'", location()))

    def before(self, module: Any, args: Any, kwargs: Any = None) -> None:
        """Enter a module of the model."""
        path = self.paths.get(id(module))
        if path is None:
            return
        if self.depth == 0:
            self.inside.append(path)
        if self.depth or self.leaf(module) is not None:
            self.depth += 1

    def after(self, module: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Leave a module of the model; a leaf's call becomes an event."""
        path = self.paths.get(id(module))
        if path is None:
            return
        if self.depth > 1:
            self.depth -= 1
            return
        leaf = self.leaf(module)
        if leaf is not None:
            try:
                leaf(self, path, module, positional(module, args, kwargs), out)
            finally:
                self.depth -= 1
        self.inside.pop()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record everything that runs inside."""
        hooks = torch.nn.modules.module
        handles = [
            hooks.register_module_forward_pre_hook(self.before),
            hooks.register_module_forward_hook(self.after, with_kwargs=True),
        ]
        try:
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()


def positional(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Return the arguments of a call in the order of the module's `forward`."""
    if not kwargs:
        return args
    bound = inspect.signature(module.forward).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.args


def function_name(function: Any) -> str:
    """Return a function's name; of a property, the property's."""
    name = getattr(function, "__name__", str(function))
    if name == "__get__":
        return f".{getattr(getattr(function, '__self__', None), '__name__', '?')}"
    return str(name)


def tensors_in(value: Any) -> Iterator[Any]:
    """Yield every tensor of nested tuples, lists, dicts and named tuples."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)


def input_ref(lead: str, time: int | None = None) -> Ref:
    """Return the reference to the model's input."""
    return Ref(INPUT, "out", lead, time)


def leads(ref: Ref) -> int:
    """Return the number of leading axes of a value that are time and batch."""
    return LEADS[ref.lead]


#: What makes a Python value of a tensor.
CONCRETE = {
    "__bool__", "__int__", "__float__", "__index__", "__complex__", "__contains__", "item",
    "tolist", "numpy", "__array__", "equal", "allclose", "is_nonzero", "nonzero", "argwhere",
}  # fmt: skip
#: What draws random numbers.
RANDOM = {
    "rand", "randn", "randint", "rand_like", "randn_like", "randint_like", "randperm", "bernoulli",
    "bernoulli_", "multinomial", "normal", "normal_", "uniform_", "poisson", "exponential_",
    "geometric_", "random_", "cauchy_", "log_normal_",
}  # fmt: skip


def _handlers() -> Mapping[str, Any]:
    from snnir.frontends.torch_nets.functions import HANDLERS

    return HANDLERS
