"""What a network uses instead of plain torch, as far as it is there."""

from __future__ import annotations

import importlib.util
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from snnir.c_build import NoCompiler
from snnir.network import Model, Step, Unit
from snnir.targets.torch_sim.compiled import (
    DENSE,
    SAMPLED,
    Compiled,
    EventConv,
    EventLinear,
    Events,
    EventSums,
    convolve,
    is_dense,
    is_plain,
    library,
    needs_gradient,
    turned,
)
from snnir.targets.torch_sim.gpu import TritonScan, interpreted, module
from snnir.targets.torch_sim.kernels import centred
from snnir.targets.torch_sim.layers import CompiledLayer, LayerScan
from snnir.targets.torch_sim.loops import CompiledLoop
from snnir.targets.torch_sim.scans import split
from snnir.targets.torch_sim.sparse import EventSparse, Orders, gathered


class Kit:
    """What a network uses instead of plain torch, as far as it is there.

    Attributes:
        backend: `auto` (the fastest that is there), `eager`, `c` or `triton`.
        reason: Why compiled kernels are not used, where they are not.
    """

    def __init__(self, source: str, backend: str = "auto", for_gpu: str = "") -> None:
        self._gpu_source = for_gpu
        if backend == "triton":
            module(for_gpu)
        self.backend, self.reason = backend, ""
        self._sums: EventSums | None = None
        self._loops: dict[str, Any] = {}
        self._layers: dict[str, CompiledLayer | None] = {}
        self._orders = Orders()
        if backend in ("auto", "c"):
            try:
                self._code = library(source)
                self._sums = EventSums(self._code)
            except (NoCompiler, OSError) as problem:
                if backend == "c":
                    raise
                self.reason = str(problem)

    @classmethod
    def load(cls, folder: pathlib.Path, backend: str = "auto") -> Kit:
        """Return the kit of an emitted folder."""
        names = ("kernels.c", "kernels_triton.py")
        source, for_gpu = ((folder / name).read_text(encoding="utf-8") for name in names)
        return cls(source, backend, for_gpu)

    def stored(self, model: Model, name: str, value: Tensor) -> Tensor:
        """Return a tensor in the memory layout the kernels read."""
        matrices = {
            unit.tensors["weight"]
            for unit in model.units.values()
            if unit.kind == "op" and unit.function == "linear"
        }
        plain = value.ndim == 2 and value.dtype is torch.float32
        return turned(value) if self._sums is not None and plain and name in matrices else value

    def runner(self, step: Step, device: torch.device, kind: torch.dtype) -> Any:
        """Return what scans a step on a device, or None where plain torch has to."""
        if step.pooling:
            return None
        if device.type == "cpu" and self._sums is not None and kind is torch.float32:
            return Compiled(step, self._code)
        if kind is torch.float32 and not step.wide and self.uses_gpu(device):
            kernels = module(self._gpu_source)
            if hasattr(kernels, f"{step.name}_scan"):
                return TritonScan(step, kernels)
        return None

    def uses_gpu(self, device: torch.device) -> bool:
        """Return whether scans on a device go to the Triton kernels."""
        if self.backend == "triton":
            return device.type == "cuda" or interpreted()
        if self.backend != "auto" or device.type != "cuda":
            return False
        return importlib.util.find_spec("triton") is not None

    def loop(self, net: Any, first: str, values: dict[str, Tensor]) -> Any:
        """Return what runs the recurrence that begins with a node, or None."""
        loop = net.model.loops.get(first)
        if loop is None or self._sums is None or net.model.acc != "float32":
            return None
        if not is_plain(*(values[name] for name in loop.outside)) or not loop.outside:
            return None
        if first not in self._loops:
            names = [net.model.units[name].tensors[key] for name, key in loop.tensors]
            fit = is_plain(*(net.tensor(name) for name in names))
            self._loops[first] = CompiledLoop(loop, net.model, self._code) if fit else None
        return self._loops[first]

    def layer(
        self, net: Any, linear: Unit, step: Step, x: Tensor, states: Sequence[Tensor],
        params: Sequence[Tensor],
    ) -> tuple[list[Tensor], list[Tensor]] | None:  # fmt: skip
        """Run a linear layer and the population after it.

        Args:
            net: The network, for the tensors of the layer.
            linear: The layer.
            step: The step of the population.
            x: Input [T, B, width].
            states: Before the first step, [B, neurons] each.
            params: Of the population.

        Returns:
            Outputs [T, B, neurons] and the states after the last step, or None where that is not
            possible or does not pay.
        """
        sums = self._sums
        if sums is None or x.ndim != 3 or not x.numel():
            return None
        layer = self.joined(step, sums)
        if layer is None or needs_gradient(*params) or not is_plain(x, *states, *params):
            return None
        events = self.events(sums, x.flatten(0, 1))
        if events is None:
            return None
        own = {key: net.tensor(name) for key, name in linear.tensors.items()}
        weight, bias = centred(own["weight"], own.get("zero")), own.get("bias")
        if not is_plain(weight, bias):
            return None
        bias = None if bias is None else bias.expand(len(weight)).contiguous()
        if not needs_gradient(x, weight, bias, *states):
            return layer.forward(events, weight, bias, states, params, len(x), False)[:2]
        made = LayerScan.apply(layer, events, x, weight, bias, *states, *params)
        outputs, final = split(made, step.outputs, len(step.states))
        return outputs, final

    def joined(self, step: Step, sums: EventSums) -> CompiledLayer | None:
        """Return what runs a population with the layer before it, if it has that form."""
        if step.name not in self._layers:
            known = hasattr(sums.code, f"{step.name}_layer")
            self._layers[step.name] = CompiledLayer(step, sums) if known else None
        return self._layers[step.name]

    def apply(
        self, function: str, rows: Sequence[Tensor], own: dict[str, Tensor],
        options: Mapping[str, Any],
    ) -> Tensor | None:  # fmt: skip
        """Return the result of a stateless op, or None where plain torch is faster."""
        if self._sums is None:
            return None
        if function == "max_pool":
            return self.max_pool(self._sums, rows[0], options)
        if function == "sparse_linear":
            return self.sparse(self._sums, rows[0], own, options["outputs"])
        if function not in ("linear", "convolution"):
            return None
        x, weight, bias = rows[0], centred(own["weight"], own.get("zero")), own.get("bias")
        if not is_plain(x, weight, bias) or not x.numel():
            return None
        if bias is not None and bias.numel() != len(weight):
            bias = bias.expand(len(weight)).contiguous()
        if function == "linear":
            return self.linear(self._sums, x, weight, bias)
        return self.convolution(self._sums, x, weight, bias, options)

    @staticmethod
    def events(sums: EventSums, x: Tensor) -> Events | None:
        """Return the events of [rows, width], or None where the input is dense."""
        if x.ndim != 2 or (x.numel() > SAMPLED and is_dense(x)):
            return None
        events = Events(sums.code, x.detach().contiguous())
        return events if events.count <= DENSE * x.numel() else None

    def linear(
        self, sums: EventSums, x: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor | None:
        """Return a matrix product as sums over events, or None where the input is dense."""
        events = self.events(sums, x)
        if events is None:
            return None
        if not needs_gradient(x, weight, bias):
            return sums.gather(events, weight, bias)
        made: Tensor = EventLinear.apply(sums, events, x, weight, bias)
        return made

    def sparse(
        self, sums: EventSums, x: Tensor, own: dict[str, Tensor], outputs: int
    ) -> Tensor | None:
        """Return the product with a sparse matrix as sums over events, or None if that is slow."""
        values, columns, starts = own["values"], own["columns"], own["starts"]
        bias = own.get("bias")
        if not is_plain(x, values, bias) or not x.numel() or not values.numel():
            return None
        events = self.events(sums, x)
        if events is None:
            return None
        order, groups = self._orders.of(columns, starts, x.shape[1]), len(starts) - 1
        if needs_gradient(x, values):
            made: Tensor = EventSparse.apply(sums, events, order, x, values, groups)
        else:
            made = gathered(sums, events, order, values, groups)
        y = made.flatten(1)[:, :outputs]
        return y if bias is None else y + bias

    @staticmethod
    def max_pool(sums: EventSums, x: Tensor, options: Mapping[str, Any]) -> Tensor | None:
        """Return a maximum over windows, or None where torch's is needed."""
        padded = any(width for pair in options["padding"] for width in pair)
        if padded or not is_plain(x) or needs_gradient(x):
            return None
        return sums.max_pool(x, options["kernel"], options["stride"])

    @staticmethod
    def convolution(
        sums: EventSums, x: Tensor, weight: Tensor, bias: Tensor | None,
        options: Mapping[str, Any], pool: Sequence[int] = (),
    ) -> Tensor | None:  # fmt: skip
        """Return a convolution as sums over events, or None where that does not pay."""
        stride, padding, dilation = (
            tuple(options[key]) for key in ("stride", "padding", "dilation")
        )
        even = all(before == after for before, after in padding)
        if options["groups"] != 1 or not even or is_dense(x.reshape(len(x), -1)):
            return None
        if x.ndim == 3:  # one spatial axis is a picture of one row
            x, weight = x[:, :, None], weight[:, :, None]
            stride, padding, dilation = (1, *stride), ((0, 0), *padding), (1, *dilation)
        inside = tuple(before for before, _ in padding)
        if needs_gradient(x, weight, bias):
            made: Tensor = EventConv.apply(sums, x, weight, bias, stride, inside, dilation)
        else:
            made = convolve(sums, x, weight, bias, stride, inside, dilation, pool)
        return made[:, :, 0] if len(options["stride"]) == 1 else made

    def pair(
        self, x: Tensor, own: dict[str, Tensor], options: Mapping[str, Any],
        pooling: Mapping[str, Any],
    ) -> Tensor | None:  # fmt: skip
        """Return the maximum over windows of a convolution, or None where that does not pay.

        The bias is added to the maximum: rounding keeps the order, so the result is the same.
        """
        weight, bias = centred(own["weight"], own.get("zero")), own.get("bias")
        padded = any(width for widths in pooling["padding"] for width in widths)
        if self._sums is None or padded or x.ndim != 4 or not x.numel():
            return None
        if not is_plain(x, weight, bias) or needs_gradient(x, weight, bias):
            return None
        if bias is not None and bias.numel() != len(weight):
            bias = bias.expand(len(weight)).contiguous()
        pool = (*pooling["kernel"], *pooling["stride"])
        return self.convolution(self._sums, x, weight, bias, options, pool)
