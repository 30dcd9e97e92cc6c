"""Compiled kernels: calling the C source where there is a compiler.

The functions take plain pointers, so neither torch's headers nor a build system is needed. Work is
shared by as many threads as torch uses; results do not depend on their number.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from snnir.c_build import shared_library
from snnir.network import Step
from snnir.targets.torch_sim.memory import MEMORY

#: Above this share of non-zero inputs, a matrix product is faster than sums over events.
DENSE = 0.25
#: Larger inputs are sampled before their events are listed.
SAMPLED = 1 << 18
#: Elements of work below which a second thread costs more than it saves.
SMALL = 200_000
BLOCK = 512
#: Neurons that a sum over events carries in registers.
WIDE = 64
#: Events per input from which the weights of a block are laid side by side first.
OFTEN = 16
#: Rows whose gradients stay in the cache while those of the weights are summed.
TILE = 1024


@lru_cache(maxsize=64)
def library(source: str) -> ctypes.CDLL:
    """Return the compiled kernels; compiled once per source, compiler and processor.

    Raises:
        NoCompiler: If they cannot be compiled.
    """
    code = ctypes.CDLL(str(shared_library(source)))
    for name, arguments in SIGNATURES.items():
        bind(getattr(code, name), arguments)
    code.snn_events.restype = ctypes.c_int64
    return code


#: Arguments of the kernels that every network has: q int64, p pointer.
SIGNATURES = {
    "snn_events": "pqqppp", "snn_values": "pqqppp", "snn_turn": "qqpppqqqppp",
    "snn_gather": "qqppppqpqqpqp", "snn_scatter": "qqpppqqpqqpqp", "snn_sparse": "qqppppppqqp",
    "snn_sparse_back": "qqppppppqqqp", "snn_conv": "qqpppppppp", "snn_max_pool": "qqppp",
}  # fmt: skip
_TYPES = {"q": ctypes.c_int64, "p": ctypes.c_void_p}


def bind(function: Any, arguments: str) -> Any:
    """Declare the arguments of a C function, so that plain numbers can be passed."""
    function.argtypes = [_TYPES[letter] for letter in arguments]
    return function


@lru_cache(maxsize=1)
def pool() -> ThreadPoolExecutor:
    """Return the threads that share calls."""
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="snnir")


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=pool.cache_clear)


def share(call: Callable[[int, int], Any], parts: int, work: int) -> None:
    """Call on the range of parts, split over threads if the work pays for it."""
    threads = min(parts, torch.get_num_threads(), 1 + work // SMALL)
    if threads < 2:
        call(0, parts)
        return
    cuts = [parts * k // threads for k in range(threads + 1)]
    list(pool().map(call, cuts[:-1], cuts[1:]))


def pointers(tensors: Sequence[Tensor | None]) -> Any:
    """Return a C array of the addresses of tensors."""
    addresses = [0 if x is None else x.data_ptr() for x in tensors]
    return (ctypes.c_void_p * max(1, len(addresses)))(*addresses)


def address(tensor: Tensor | None) -> int | None:
    """Return the address of a tensor's data."""
    return None if tensor is None else tensor.data_ptr()


# --- Scans ---------------------------------------------------------------------------------------


class Compiled:
    """Scans in C; the same calls as `Eager`."""

    def __init__(self, step: Step, code: ctypes.CDLL) -> None:
        self.step = step
        self.inner = torch.float64 if step.wide else torch.float32
        self._scan = bind(getattr(code, f"{step.name}_scan"), "qqqqqpppppp")
        self._back = bind(getattr(code, f"{step.name}_back"), "qqqqqpppppppp")
        self._back_params = bind(getattr(code, f"{step.name}_back_params"), "qqqqqpppppppp")

    def layout(self, x: Tensor, params: Sequence[Tensor]) -> tuple[list[int], list[Tensor], Any]:
        """Return [time, batch, neurons], the parameters as arrays, and which of them vary."""
        time, batch, shape = len(x), x.shape[1], x.shape[2:]
        alike = [p.numel() == 1 for p in params]
        arrays = [
            (p.reshape(1) if same else p.expand(shape)).detach().to(self.inner).contiguous()
            for p, same in zip(params, alike, strict=True)
        ]
        varies = (ctypes.c_int32 * max(1, len(alike)))(*(not same for same in alike))
        count = shape.numel()
        if all(alike):
            batch, count = 1, batch * count  # nothing depends on the place, so blocks can be full
        return [time, batch, count], arrays, varies

    def call(self, function: Any, size: list[int], *rest: Any) -> None:
        """Call a kernel on all parts."""
        time, batch, count = size
        parts = batch * -(-count // BLOCK)

        def part(first: int, last: int) -> None:
            function(first, last, *size, *rest)

        share(part, parts, time * batch * count)

    def forward(
        self, inputs: Sequence[Tensor], states: Sequence[Tensor], params: Sequence[Tensor],
        keep: bool,
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:  # fmt: skip
        """Scan over time; see `Eager.forward`."""
        xs = [x.contiguous() for x in inputs]
        own = [v.to(self.inner).clone(memory_format=torch.contiguous_format) for v in states]
        size, arrays, varies = self.layout(xs[0], params)
        outputs = [MEMORY.empty(*xs[0].shape) for _ in range(self.step.outputs)]
        history = [torch.empty(xs[0].shape, dtype=self.inner) for _ in own] if keep else []
        kept = pointers(history) if history else ctypes.c_void_p(None)
        self.call(
            self._scan, size, pointers(xs), pointers(own), pointers(arrays), varies,
            pointers(outputs), kept,
        )  # fmt: skip
        return outputs, own, history

    def backward(
        self, inputs: Sequence[Tensor], history: Sequence[Tensor], params: Sequence[Tensor],
        g_outputs: Sequence[Tensor], g_states: Sequence[Tensor],
        g_traces: Sequence[Tensor | None] = (), wanted: Sequence[bool] = (),
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor | None]]:  # fmt: skip
        """Scan backwards over time; see `Eager.backward`. Traces have no gradient here."""
        xs = [x.contiguous() for x in inputs]
        kept = [h.contiguous() for h in history]
        size, arrays, varies = self.layout(xs[0], params)
        given = [g.contiguous() for g in g_outputs]
        own = [g.to(self.inner).clone(memory_format=torch.contiguous_format) for g in g_states]
        made = [MEMORY.empty(*x.shape) for x in xs]
        shape = xs[0].shape[1:]
        some = any(wanted)
        totals = [torch.empty(shape, dtype=self.inner) for _ in params] if some else []
        self.call(
            self._back_params if some else self._back, size, pointers(xs), pointers(kept),
            pointers(arrays), varies, pointers(given), pointers(made), pointers(own),
            pointers(totals),
        )  # fmt: skip
        g_params: list[Tensor | None] = [None] * len(params)
        for index, total in enumerate(totals):
            if wanted[index]:
                value = params[index]
                g_params[index] = total.sum_to_size(value.shape).to(value.dtype)
        return made, own, g_params


# --- Sums over events ----------------------------------------------------------------------------


class Events:
    """The non-zero elements of [rows, width], row by row.

    Attributes:
        begin: Where each row's entries begin, and the end of the last, int64 [rows + 1].
        index: Position in the row, int32.
        value: The elements, None if every one is 1.
        count: Number of elements that are not zero.
    """

    def __init__(self, code: ctypes.CDLL, x: Tensor) -> None:
        rows, width = self.shape = x.shape
        self.code = code
        self.begin = torch.empty(rows + 1, dtype=torch.int64)
        # More than there can be: the compaction writes 16 at a time.
        room = MEMORY.empty(rows * width + 16).view(torch.int32)
        self.value: Tensor | None = None
        plain = ctypes.c_int32(0)
        self.count = code.snn_events(
            address(x), rows, width, address(self.begin), address(room), ctypes.byref(plain)
        )
        self.index = room[: self.count].clone()  # the room is large, and this may be kept
        if not plain.value:
            self.value = torch.empty(self.count)
            code.snn_values(address(x), rows, width, *self.addresses)

    @property
    def addresses(self) -> tuple[int | None, ...]:
        """What the kernels take: `begin`, `index` and `value`."""
        return address(self.begin), address(self.index), address(self.value)

    def turned(self, tile: int) -> list[Tensor | None]:
        """Return the events sorted by input, `tile` rows at a time; see `snn_turn`."""
        rows, width = self.shape
        tiles = -(-rows // tile)
        starts = torch.empty(tiles * (width + 1), dtype=torch.int64)
        row = torch.empty(self.count, dtype=torch.int32)
        value = None if self.value is None else torch.empty(self.count)
        rest = [*self.addresses, rows, width, tile, address(starts), address(row), address(value)]

        def part(first: int, last: int) -> None:
            self.code.snn_turn(first, last, *rest)

        share(part, tiles, self.count)
        return [starts, row, value]


def near(events: Events) -> Tensor | None:
    """Return room for the weights of a block side by side, if they are read often."""
    width = events.shape[1]
    return torch.empty(width, WIDE) if events.count > OFTEN * width else None


def needs_gradient(*tensors: Tensor | None) -> bool:
    """Return whether a gradient may be asked for."""
    if not torch.is_grad_enabled():
        return False
    return any(bool(x.requires_grad) for x in tensors if x is not None)


def is_dense(x: Tensor) -> bool:
    """Return whether a sample of the rows of [rows, width] has few zeros."""
    rows = x[:: max(1, len(x) // 16)]
    return bool(int(rows.count_nonzero()) > DENSE * int(rows.numel()))


def row_length(neurons: int) -> int:
    """Return the floats from one row of weights to the next.

    Whole vectors, but no multiple of a kilobyte: such rows would compete for the same cache lines.
    """
    vectors = -(-neurons // 16)
    return 16 * (vectors + (vectors % 16 == 0))


def turned(weight: Tensor) -> Tensor:
    """Return weights [neurons, width] stored so that kernels read them without a copy.

    Memory holds one row of neurons per input, with room for whole vectors: a sum over events reads
    the rows of its inputs.
    """
    neurons, width = weight.shape
    room = torch.zeros(width, row_length(neurons))
    room[:, :neurons] = weight.detach().t()
    return room[:, :neurons].t()


def is_turned(weight: Tensor) -> bool:
    """Return whether weights are stored as `turned` does."""
    stride, step = weight.stride()
    whole = weight.storage_offset() % 16 == 0
    end = weight.storage_offset() + (weight.shape[1] - 1) * step + -(-len(weight) // 16) * 16
    fits = end * weight.element_size() <= weight.untyped_storage().nbytes()
    return bool(stride == 1 and step % 16 == 0 and step >= len(weight) and whole and fits)


def wide(neurons: int) -> int:
    """Return how many output neurons a table of a loop sums together."""
    return 16 if neurons <= 16 else 32 if neurons <= 32 else 64


def packed(weight: Tensor) -> Tensor:
    """Return weights [neurons, width] as [blocks, width, wide], padded with zeros."""
    neurons, width = weight.shape
    lanes = wide(neurons)
    blocks = -(-neurons // lanes)
    if blocks * lanes != neurons:
        weight = functional.pad(weight, (0, 0, 0, blocks * lanes - neurons))
    return weight.reshape(blocks, lanes, width).transpose(1, 2).contiguous()


class EventSums:
    """Matrix products and convolutions with mostly-zero inputs as sums over events."""

    def __init__(self, code: ctypes.CDLL) -> None:
        self.code = code

    def gather(self, events: Events, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the sums [rows, neurons]."""
        rows, neurons = len(events.begin) - 1, len(weight)
        table = weight.detach() if is_turned(weight) else turned(weight)
        out = MEMORY.empty(rows, neurons)
        rest = [
            *events.addresses, address(table), table.stride(1), address(bias), rows, neurons,
            address(out),
        ]  # fmt: skip

        def part(first: int, last: int) -> None:
            room = near(events)
            self.code.snn_gather(first, last, *rest, events.shape[1], address(room))

        share(part, -(-neurons // WIDE), events.count * neurons)
        return out

    def scatter(self, events: Events, d: Tensor) -> Tensor:
        """Return the gradient of the weights [neurons, width] from that of the sums."""
        (rows, neurons), width = d.shape, events.shape[1]
        tile = min(rows, TILE)
        own = events.turned(tile)
        table = MEMORY.zeros(width, row_length(neurons))
        rest = [
            *(address(x) for x in own), width, tile, address(d), rows, neurons, address(table),
            table.stride(0),
        ]  # fmt: skip

        def part(first: int, last: int) -> None:
            work = torch.zeros(tile, WIDE)
            self.code.snn_scatter(first, last, *rest, address(work))

        share(part, -(-neurons // WIDE), 2 * events.count * neurons)
        return table[:, :neurons].t()

    def spread(self, d: Tensor, weight: Tensor) -> Tensor:
        """Return the gradient of the input, [rows, width], from that of the sums.

        Where the surrogate vanishes, the sums have no gradient: then few weights are read.
        """
        if is_dense(d):
            return torch.mm(d, weight, out=MEMORY.empty(len(d), weight.shape[1]))
        return self.gather(Events(self.code, d), weight.t(), None)

    def convolve(
        self, events: Events, weight: Tensor, bias: Tensor | None, place: Tensor,
        geometry: Sequence[int], pool: Sequence[int] = (),
    ) -> Tensor:  # fmt: skip
        """Return the convolution [rows, channels, height, width].

        Args:
            events: Of the input.
            weight: [outputs, inputs, kernel height, kernel width].
            bias: [outputs].
            place: See `places`.
            geometry: Kernel, stride, padding, dilation and size of the result, two numbers each.
            pool: Kernel and stride of a maximum over windows of the result.
        """
        rows, outs, size = len(events.begin) - 1, len(weight), list(geometry[8:10])
        if pool:
            size = [(n - k) // s + 1 for n, k, s in zip(size, pool[:2], pool[2:], strict=True)]
        lanes = -(-outs // 16) * 16
        # [in, kernel height, kernel width reversed, out], the output channels padded
        table = weight.detach().flip(3).permute(1, 2, 3, 0)
        table = functional.pad(table, (0, lanes - outs)).contiguous()
        out = MEMORY.empty(rows, outs, *size)
        numbers = (ctypes.c_int64 * 18)(*geometry, outs, lanes, *pool, *(size if pool else ()))
        rest = [
            *events.addresses, address(place), address(table), address(bias), numbers,
            address(out),
        ]  # fmt: skip

        def part(first: int, last: int) -> None:
            if self.code.snn_conv(first, last, *rest):
                raise MemoryError("no memory for a convolution")

        share(part, rows, events.count * table[0].numel() + out.numel())
        return out

    def max_pool(self, x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
        """Return the largest element of every window of x [rows, channels, height, width]."""
        x = x.contiguous()
        size = [(n - k) // s + 1 for n, k, s in zip(x.shape[2:], kernel, stride, strict=True)]
        out = MEMORY.empty(*x.shape[:2], *size)
        numbers = (ctypes.c_int64 * 8)(*x.shape[2:], *kernel, *stride, *size)

        def part(first: int, last: int) -> None:
            numbered = first, last
            if self.code.snn_max_pool(*numbered, address(x), numbers, address(out)):
                raise MemoryError("no memory for a pooling")

        share(part, x.shape[0] * x.shape[1], x.numel())
        return out


@lru_cache(maxsize=64)
def places(channels: int, height: int, width: int) -> Tensor:
    """Return (channel, row, column) of every element of [channels, height, width], int32."""
    axes = (torch.arange(n, dtype=torch.int32) for n in (channels, height, width))
    return torch.cartesian_prod(*axes).contiguous()


def convolve(
    sums: EventSums, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int],
    padding: Sequence[int], dilation: Sequence[int], pool: Sequence[int] = (),
) -> Tensor:  # fmt: skip
    """Return the cross-correlation of x [rows, channels, height, width], pooled if asked for."""
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(
            x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True
        )
    ]
    geometry = [*weight.shape[2:], *stride, *padding, *dilation, *size]
    x = x.detach().contiguous()
    events = Events(sums.code, x.reshape(len(x), -1))
    return sums.convolve(events, weight, bias, places(*x.shape[1:]), geometry, pool)


class EventConv(torch.autograd.Function):
    """A convolution whose input is known by its events; the gradients are torch's."""

    @staticmethod
    def forward(
        ctx: Any, sums: EventSums, x: Tensor, weight: Tensor, bias: Tensor | None,
        stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int],
    ) -> Tensor:  # fmt: skip
        """Return the cross-correlation of x [rows, channels, height, width]."""
        ctx.save_for_backward(x, weight)
        ctx.options = {"stride": stride, "padding": padding, "dilation": dilation}
        return convolve(sums, x, weight, bias, stride, padding, dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Any, ...]:
        """Return the gradients of x, weight and bias."""
        x, weight = ctx.saved_tensors
        _, x_too, weight_too, bias_too = ctx.needs_input_grad[:4]
        grad = torch.nn.grad
        g_x = grad.conv2d_input(x.shape, weight, d, **ctx.options) if x_too else None
        g_weight = grad.conv2d_weight(x, weight.shape, d, **ctx.options) if weight_too else None
        return None, g_x, g_weight, d.sum((0, 2, 3)) if bias_too else None, None, None, None


class EventLinear(torch.autograd.Function):
    """A matrix product whose input is known by its events."""

    @staticmethod
    def forward(
        ctx: Any, sums: EventSums, events: Events, x: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        """Return x W^T + bias."""
        ctx.sums, ctx.events = sums, events
        ctx.save_for_backward(weight)
        return sums.gather(events, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Any, ...]:
        """Return the gradients of x, weight and bias."""
        (weight,) = ctx.saved_tensors
        d = d.contiguous()
        needed = ctx.needs_input_grad
        g_x = ctx.sums.spread(d, weight) if needed[2] else None
        g_weight = ctx.sums.scatter(ctx.events, d) if needed[3] else None
        return None, None, g_x, g_weight, d.sum(0) if needed[4] else None


def is_plain(*tensors: Tensor | None) -> bool:
    """Return whether all are float32 on the CPU."""
    return all(x is None or (x.dtype is torch.float32 and x.device.type == "cpu") for x in tensors)
