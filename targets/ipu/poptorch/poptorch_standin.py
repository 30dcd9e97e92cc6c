"""A stand-in for PopTorch on the CPU, written by snnir; nothing here is Graphcore's.

    import poptorch_standin as poptorch

It has what scripts written by snnir use of PopTorch 3.4, runs it with torch, and refuses all else:
other names and options, arguments of another kind, operators of torch that PopTorch's list of
supported operators does not have, and types that the device does not have. It knows nothing of the
device's memory, speed or rounding, and torch 2.0 does not show it what tensors are indexed by;
later ones do. Needs torch 2.0 or newer and Python 3.8 or newer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NoReturn

import torch
from torch.overrides import TorchFunctionMode

#: Functions and methods of torch that are let through, by the name of the function. Operators
#: have the name of their function: `a + b` is add.
FUNCTIONS = {
    *("abs", "add", "amax", "bitwise_and", "cat", "clone", "conv1d", "conv2d", "cumsum", "div"),
    "eq",
    *("exp", "expand", "expand_as", "float", "floor", "full", "full_like", "ge", "getitem"),
    *("gt", "index_select", "int", "le", "linear", "log", "logical_and", "logical_not"),
    *("logical_or", "lt", "max_pool2d", "maximum", "minimum", "mul", "neg", "ones", "pad"),
    *("permute", "pow", "reshape", "round", "rsub", "sqrt", "squeeze", "sub", "sum", "tanh"),
    *("unsqueeze", "where", "zeros", "zeros_like"),
}  # fmt: skip
#: What may be asked of a tensor: nothing that depends on its values.
FACTS = {"dim", "dtype", "is_contiguous", "ndim", "shape"}
#: Types that the device has; it would make others narrower without a word.
TYPES = (torch.float32, torch.float16, torch.int32, torch.bool)

_OPERATORS = {"truediv": "div", "radd": "add", "rmul": "mul", "absolute": "abs"}


class Error(Exception):
    """What PopTorch would not do, in one line."""


def _refuse(what: str) -> NoReturn:
    raise Error("poptorch stand-in: " + what)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise AttributeError("the poptorch stand-in has no " + repr(name))


def _name_of(function: Any) -> str:
    name = getattr(function, "__name__", str(function))
    if name in ("__get__", "__set__"):
        name = getattr(function.__self__, "__name__", name)
    if name.startswith("__") and name.endswith("__"):
        name = name[2:-2]
    if name in ("fn", "_fn"):  # torch wraps functions with several results so
        name = getattr(function, "__wrapped__", function).__qualname__
    return _OPERATORS.get(name, name)


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [tensor for each in value for tensor in _tensors(each)]
    return []


def _check_type(tensor: torch.Tensor, what: str) -> None:
    if tensor.dtype not in TYPES:
        _refuse(f"{what} is {tensor.dtype}, which the device does not have")


class _Supported(TorchFunctionMode):
    """Lets through what PopTorch has."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = _name_of(function)
        if name in FACTS:
            return function(*args, **(kwargs or {}))
        if name not in FUNCTIONS:
            _refuse(f"torch.{name} is not among the operators that PopTorch has")
        if name == "getitem":
            _check_index(args[1])
        result = function(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            _check_type(tensor, "the result of torch." + name)
        return result


def _check_index(index: Any) -> None:
    for part in index if isinstance(index, tuple) else (index,):
        ends = (part.start, part.stop, part.step) if isinstance(part, slice) else (part,)
        if not all(end is None or end is Ellipsis or type(end) is int for end in ends):
            _refuse("a tensor is indexed by constants only")


# ---- loops and slices --------------------------------------------------------------------------


def _own(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run a function of this module without looking at the operators it uses itself."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with torch._C.DisableTorchFunction():
            return function(*args, **kwargs)

    return call


def for_loop(count: Any, body: Callable[..., Any], inputs: Any) -> list[Any]:
    """Run the body so many times, each time on what it returned.

    Raises:
        Error: Unless `inputs` is a list of tensors, and the body returns as many of the same
            shapes and types.
    """
    if type(count) is not int or count < 0:
        _refuse(f"for_loop takes a constant number of turns, got {count!r}")
    if not isinstance(inputs, list) or not inputs:
        _refuse(f"for_loop takes its tensors in a list, got {type(inputs).__name__}")
    for place, tensor in enumerate(inputs):
        if not isinstance(tensor, torch.Tensor):
            _refuse(f"element {place} of for_loop's list is no tensor but {tensor!r}")
        _check_type(tensor, f"element {place} of for_loop's list")
    facts = [(list(tensor.shape), tensor.dtype) for tensor in inputs]
    now: list[Any] = _copies(inputs)
    for _ in range(count):
        with _Supported() if Block._running is None else nullcontext():
            after = body(*now)
        after = list(after) if isinstance(after, (list, tuple)) else [after]
        _check_returned(after, facts)
        moved = [k for k, one in enumerate(after) if any(one is x for x in now if x is not now[k])]
        if moved:
            _refuse(f"the body returns as element {moved[0]} what it was given in another place")
        now = _copies(after)
    return now


def _check_returned(after: list[Any], facts: list[Any]) -> None:
    if len(after) != len(facts):
        _refuse(f"the body takes {len(facts)} tensors and returns {len(after)}")
    for place, (tensor, known) in enumerate(zip(after, facts)):
        if not isinstance(tensor, torch.Tensor):
            _refuse(f"the body returns {tensor!r} as element {place}")
        found = (list(tensor.shape), tensor.dtype)
        if found != known:
            what = "the body takes {} {} as element {} and returns {} {}"
            _refuse(what.format(*known, place, *found))


@_own
def _copies(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in tensors]


def _check_slice(name: str, tensor: Any, dim: Any, start: Any, size: Any) -> None:
    if not isinstance(tensor, torch.Tensor) or not isinstance(start, torch.Tensor):
        _refuse(name + " takes a tensor and a tensor as start")
    if start.dtype != torch.int32 or start.numel() != 1:
        _refuse(name + " starts at one number of type int32")
    if type(dim) is not int or type(size) is not int or size < 1:
        _refuse(name + " takes a constant axis and a constant size of at least 1")
    if tensor.shape[dim] % size:
        _refuse(f"{name} of {size} elements where there are {tensor.shape[dim]}")
    if not 0 <= int(start) <= tensor.shape[dim] - size:
        _refuse(f"{name} from {int(start)} is outside of {tensor.shape[dim]}")


@_own
def dynamic_slice(tensor: Any, dim: int, start: Any, size: int, step: int) -> Any:
    """Return `size` elements of an axis from a tensor `start` on."""
    _check_slice("dynamic_slice", tensor, dim, start, size)
    if step != 1:
        _refuse("dynamic_slice is used with a step of 1")
    return tensor.narrow(dim, int(start), size).clone()


@_own
def dynamic_update(input: Any, src: Any, dim: int, start: Any, size: int) -> Any:
    """Return a tensor with `size` elements of an axis replaced, from a tensor `start` on."""
    _check_slice("dynamic_update", input, dim, start, size)
    if not isinstance(src, torch.Tensor) or src.dim() != input.dim() or src.dtype != input.dtype:
        _refuse("dynamic_update puts in a tensor of the same type and number of axes")
    room = list(input.shape)
    room[dim] = size
    if list(src.shape) != room:
        _refuse(f"dynamic_update of {list(input.shape)} takes {room}, got {list(src.shape)}")
    result = input.clone()
    result.narrow(dim, int(start), size).copy_(src)
    return result


# ---- options -----------------------------------------------------------------------------------


class _Strict:
    """Refuses what it does not have, also when it is set."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError("the poptorch stand-in has no option " + repr(name))


class _Precision(_Strict):
    def __init__(self, owner: Any) -> None:
        self._owner = owner

    def enableStochasticRounding(self, enabled: bool) -> Any:
        """Say whether float16 is rounded at random; here it never is."""
        if enabled is not False:
            _refuse("stochastic rounding can only be switched off")
        self._owner._stochastic = False
        return self


class Options(_Strict):
    """How a network is run."""

    def __init__(self) -> None:
        self._iterations, self._replicas, self._rounds = 1, 1, False
        self._stochastic = True
        self._strategy: ShardedExecution | None = None
        self.Precision = _Precision(self)

    def deviceIterations(self, device_iterations: int) -> Any:
        """Set how many batches follow each other in one call."""
        self._iterations = _positive("deviceIterations", device_iterations)
        return self

    def replicationFactor(self, replication_factor: int) -> Any:
        """Set how many copies share the first axis of the inputs."""
        self._replicas = _positive("replicationFactor", replication_factor)
        return self

    def autoRoundNumIPUs(self, auto_round_num_ipus: bool = True) -> Any:
        """Take a power of two of IPUs where the number is none."""
        if not isinstance(auto_round_num_ipus, bool):
            _refuse("autoRoundNumIPUs takes True or False")
        self._rounds = auto_round_num_ipus
        return self

    def setExecutionStrategy(self, strategy: Any) -> Any:
        """Set which blocks there are."""
        if not isinstance(strategy, ShardedExecution):
            _refuse("the execution strategy must be a ShardedExecution")
        self._strategy = strategy
        return self


def _positive(name: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        _refuse(f"{name} takes a whole number of at least 1, got {value!r}")
    return int(value)


class Stage(_Strict):
    """A part of the network that runs on one IPU: the block of this name."""

    def __init__(self, *block_ids: str) -> None:
        if not block_ids or not all(isinstance(name, str) for name in block_ids):
            _refuse("Stage takes names of blocks")
        self._blocks = block_ids


class ShardedExecution(_Strict):
    """One stage after the other."""

    def __init__(self, *stages: Stage) -> None:
        if not stages or not all(isinstance(stage, Stage) for stage in stages):
            _refuse("ShardedExecution takes stages")
        self._blocks = [name for stage in stages for name in stage._blocks]


class Block:
    """What is computed inside `with` runs on one IPU."""

    _running: _Executor | None = None

    def __init__(self, user_id: str | None = None, ipu_id: int | None = None) -> None:
        if not isinstance(user_id, str) or type(ipu_id) is not int or ipu_id < 0:
            _refuse("Block takes a name and the number of an IPU")
        self._name, self._ipu = user_id, ipu_id

    def __enter__(self) -> None:
        if Block._running is not None:
            Block._running._enter(self._name, self._ipu)

    def __exit__(self, *failure: Any) -> None:
        if Block._running is not None:
            Block._running._inside = None


# ---- running -----------------------------------------------------------------------------------


def inferenceModel(model: torch.nn.Module, options: Options | None = None) -> Any:
    """Return a function that runs a module as the options say."""
    if not isinstance(model, torch.nn.Module):
        _refuse("inferenceModel takes a torch.nn.Module")
    if options is not None and not isinstance(options, Options):
        _refuse("inferenceModel takes poptorch.Options")
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        _check_type(tensor, name)
    return _Executor(model, options or Options())


class _Executor:
    """A module that is run replica by replica."""

    def __init__(self, model: torch.nn.Module, options: Options) -> None:
        self._model, self._options = model, options
        self._shapes: list[tuple[int, ...]] | None = None
        self._inside: str | None = None
        self._ipus: set[int] = set()

    def _enter(self, name: str, ipu: int) -> None:
        strategy = self._options._strategy
        if self._inside is not None:
            _refuse(f"block {name!r} begins inside block {self._inside!r}")
        if strategy is None or name not in strategy._blocks:
            _refuse(f"block {name!r} is no stage of the execution strategy")
        self._inside = name
        self._ipus.add(ipu)

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """Run the module on inputs whose first axis the replicas share."""
        shares = self._options._replicas * self._options._iterations
        self._check(inputs, shares)
        parts = [self._run([x.chunk(shares)[place] for x in inputs]) for place in range(shares)]
        count = len(self._ipus) or 1
        if count & (count - 1) and not self._options._rounds:
            _refuse(f"{count} IPUs are no power of two")
        if isinstance(parts[0], torch.Tensor):
            return torch.cat(parts)
        return type(parts[0])(torch.cat(each) for each in zip(*parts))

    def _check(self, inputs: tuple[torch.Tensor, ...], shares: int) -> None:
        if not inputs:
            _refuse("the network is given no inputs")
        for place, tensor in enumerate(inputs):
            if not isinstance(tensor, torch.Tensor):
                _refuse(f"input {place} is no tensor")
            _check_type(tensor, f"input {place}")
            if not tensor.dim() or not tensor.shape[0] or tensor.shape[0] % shares:
                what = "input {} has {} samples for {} replicas and iterations"
                _refuse(what.format(place, len(tensor) if tensor.dim() else 0, shares))
        shapes = [tuple(tensor.shape) for tensor in inputs]
        if self._shapes not in (None, shapes):
            _refuse("the network was compiled for inputs of other shapes")
        self._shapes = shapes

    def _run(self, inputs: list[torch.Tensor]) -> Any:
        Block._running, self._inside = self, None
        try:
            with torch.no_grad(), _Supported():
                return self._model(*inputs)
        finally:
            Block._running = None
