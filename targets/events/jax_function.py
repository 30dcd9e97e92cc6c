"""A graph as a JAX function of weights and input times, with exact gradients."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnir.errors import error
from snnir.events import Events
from snnir.ir.graph import Graph
from snnir.targets.events.build import build_network
from snnir.targets.events.host_function import Given, HostFunction
from snnir.targets.events.replacing import with_tensors
from snnir.tensors import Tensor


class Spikes(NamedTuple):
    """Spikes of a batch in arrays of a fixed size.

    Attributes:
        time: [B, K] seconds, ascending; infinity where there is none.
        index: [B, K] int32, position in the population's shape in C order; 0 where there is none.
    """

    time: Any
    index: Any


class EventFunction:
    """See `snnir.to_jax`.

    Attributes:
        params: The trainable tensors of the graph by path, such as `fc1.weight`, as JAX arrays.
        capacity: Slots for the spikes of an output in a sample.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        duration: float,
        capacity: int = 64,
        clip: float = float("inf"),
        pulse: str = "kick",
        max_events: int = 1_000_000,
        threads: int | None = None,
    ) -> None:
        if not (np.isfinite(duration) and duration > 0):
            raise error("SNN503", f"duration is {duration}, must be a positive number of seconds")
        if capacity < 1 or not clip > 0 or max_events < 1:
            raise error("SNN503", "capacity, clip and max_events must be positive")
        self.graph, self.capacity = graph, capacity
        if pulse not in ("kick", "held"):
            raise error("SNN503", f"pulse is '{pulse}'", hint="use kick or held")
        network = build_network(graph, held=pulse == "held", keep_zeros=True)
        if network.products:
            message = f"weights are products of {' and '.join(network.products)}"
            hint = "multiply the matrices into one, or put a population between them"
            node = network.products[0].rpartition(".")[0]
            raise error("SNN501", f"{message}, which have no gradients here", node=node, hint=hint)
        self._host = HostFunction(network, duration, clip, max_events, threads)
        tensors = graph.tensors()
        for path in network.tensors:
            if not tensors[path].dtype.startswith("f"):
                node = path.rpartition(".")[0]
                hint = "use the weights before they were quantized"
                raise error("SNN501", f"{path} is not of real numbers", node=node, hint=hint)
        self.params = {path: jnp.asarray(tensors[path].numpy()) for path in network.tensors}
        self._inputs = [b for b in network.blocks if b.kind in ("input", "current")]
        self._outputs = tuple(
            name for name in network.outputs if self._host.block(name).kind == "spiking"
        )
        if not self._outputs:
            hint = "let a population that fires be an output"
            raise error("SNN501", "no output of the graph fires", hint=hint)
        synapses = network.synapses
        self._fixed = np.where(synapses.tensor < 0, synapses.weight, 0.0)
        self._own = [np.flatnonzero(synapses.tensor == k) for k in range(len(network.tensors))]
        self._core = _core(self._host, self._outputs)

    def __call__(self, params: Mapping[str, Any], x: Any) -> dict[str, Spikes]:
        """Return the spikes of every output.

        Args:
            params: Tensors by path, as `self.params`.
            x: For one input, or by input: times [B, *shape] in seconds, one spike per channel and
                infinity for none; or `Spikes`, any number of them; or, for an input of real
                numbers, currents [T, B, *shape], each held for a step.

        Raises:
            SnnirError: SNN601 if an input does not fit. Where JAX traces, what a run finds (more
                spikes than `capacity`, times below 0) is an error of JAX's with this text.
        """
        weight, values, indices = self._arguments(params, x)
        if not any(isinstance(a, jax.core.Tracer) for a in (weight, *values, *indices)):
            arrays = [[np.asarray(a) for a in part] for part in (values, indices)]
            given = Given(np.asarray(weight), *arrays)
            self.capacity = max(self.capacity, self._host.most_spikes(given, self._outputs))
        times, neurons = self._core(weight, values, indices, self.capacity)
        pairs = zip(self._outputs, times, neurons, strict=True)
        return {name: Spikes(time, index) for name, time, index in pairs}

    def first_spikes(self, params: Mapping[str, Any], x: Any) -> dict[str, Any]:
        """Return when every neuron of every output fires first, [B, *shape] seconds.

        Infinity where it does not; the gradient is 0 there. Arguments as those of a call.
        """
        weight, values, indices = self._arguments(params, x)
        times, _ = self._core(weight, values, indices, 0)
        shapes = [self._host.block(name).shape for name in self._outputs]
        pairs = zip(self._outputs, times, shapes, strict=True)
        return {name: time.reshape(-1, *shape) for name, time, shape in pairs}

    def trained(self, params: Mapping[str, Any]) -> Graph:
        """Return the graph with other tensors, each in the type it had.

        Args:
            params: Tensors by path, as `self.params`.
        """
        before = self.graph.tensors()
        return with_tensors(
            self.graph,
            {
                path: Tensor(np.asarray(params[path]).astype(before[path].numpy().dtype))
                for path in self.params
            },
        )

    # --- Arguments -------------------------------------------------------------------------------

    def _arguments(self, params: Mapping[str, Any], x: Any) -> tuple[Any, Any, Any]:
        if set(params) != set(self.params):
            message = f"params are {', '.join(sorted(params))}, must be {', '.join(self.params)}"
            raise error("SNN601", message)
        weight = self._weight(params)
        by_name = x if isinstance(x, Mapping) else {self._inputs[0].name: x}
        wanted = {block.name for block in self._inputs}
        if set(by_name) != wanted:
            message = (
                f"inputs are {', '.join(sorted(by_name))}, must be {', '.join(sorted(wanted))}"
            )
            raise error("SNN601", message)
        pairs = [self._input(block, by_name[block.name]) for block in self._inputs]
        counts = {
            value.shape[block.kind == "current"]
            for (value, _), block in zip(pairs, self._inputs, strict=True)
        }
        if len(counts) > 1 or 0 in counts:
            what = "inputs have different numbers of samples" if 0 not in counts else "no samples"
            raise error("SNN601", what)
        return weight, tuple(v for v, _ in pairs), tuple(i for _, i in pairs)

    def _weight(self, params: Mapping[str, Any]) -> Any:
        """Return the weights of all synapses: factors times elements."""
        synapses = self._host.network.synapses
        weight = jnp.asarray(self._fixed)
        for path, own in zip(self.params, self._own, strict=True):
            tensor = jnp.asarray(params[path])
            if tensor.shape != self.params[path].shape:
                message = f"{path} has shape {list(tensor.shape)}"
                raise error("SNN601", f"{message}, must be {list(self.params[path].shape)}")
            elements = tensor.reshape(-1)[synapses.element[own]] * synapses.factor[own]
            weight = weight.at[own].set(elements.astype(weight.dtype))
        return weight

    def _input(self, block: Any, given: Any) -> tuple[Any, Any]:
        if isinstance(given, Events):
            hint = "give times [B, *shape], or Spikes(time, index) [B, K]"
            raise error("SNN601", "events have no fixed shape", node=block.name, hint=hint)
        if isinstance(given, Spikes) and block.kind == "current":
            raise error("SNN601", "is an input of real numbers, not of spikes", node=block.name)
        if isinstance(given, Spikes):
            time, index = jnp.asarray(given.time), jnp.asarray(given.index)
            if time.ndim == 2 and time.shape == index.shape and index.dtype.kind in "iu":
                return time.astype(float), index
            raise error("SNN601", "spikes need times and whole indices [B, K]", node=block.name)
        value = jnp.asarray(given).astype(float)
        lead = 2 if block.kind == "current" else 1
        if value.shape[lead:] != block.shape or value.ndim < lead:
            axes = "T, B" if lead == 2 else "B"
            message = f"has shape {list(value.shape)}, must be [{axes}, *{list(block.shape)}]"
            raise error("SNN601", message, node=block.name)
        value = value.reshape(*value.shape[:lead], prod(block.shape))
        return value, jnp.broadcast_to(jnp.arange(value.shape[-1], dtype=jnp.int32), value.shape)


def _core(host: HostFunction, outputs: tuple[str, ...]) -> Any:
    """Return times and indices of spikes as a function of weights and inputs, with its VJP."""

    def run(weight: Any, values: Any, indices: Any, capacity: int) -> Any:
        real = jnp.zeros(()).dtype
        shapes = _shapes(host, outputs, values, capacity)
        result = (
            tuple(jax.ShapeDtypeStruct(shape, real) for shape in shapes),
            tuple(jax.ShapeDtypeStruct(shape, jnp.int32) for shape in shapes),
        )

        def on_host(weight: Any, values: Any, indices: Any) -> Any:
            slots = host.slots(_given(weight, values, indices), outputs, capacity)
            return (
                tuple(slots[name].time.astype(real) for name in outputs),
                tuple(slots[name].index for name in outputs),
            )

        return jax.pure_callback(on_host, result, weight, values, indices, vmap_method="sequential")

    def forward(weight: Any, values: Any, indices: Any, capacity: int) -> Any:
        return run(weight, values, indices, capacity), (weight, values, indices)

    def backward(capacity: int, kept: Any, gradient: Any) -> Any:
        weight, values, indices = kept
        result = (
            jax.ShapeDtypeStruct(weight.shape, weight.dtype),
            tuple(jax.ShapeDtypeStruct(value.shape, value.dtype) for value in values),
        )

        def on_host(weight: Any, values: Any, indices: Any, by_time: Any) -> Any:
            named = {name: np.asarray(g) for name, g in zip(outputs, by_time, strict=True)}
            found, inputs = host.gradients(_given(weight, values, indices), capacity, named)
            return (
                found.astype(weight.dtype),
                tuple(g.astype(v.dtype) for g, v in zip(inputs, values, strict=True)),
            )

        by_weight, by_values = jax.pure_callback(
            on_host, result, weight, values, indices, gradient[0], vmap_method="sequential"
        )
        return by_weight, by_values, tuple(None for _ in indices)

    core: Any = jax.custom_vjp(run, nondiff_argnums=(3,))
    core.defvjp(forward, backward)
    return core


def _given(weight: Any, values: Any, indices: Any) -> Given:
    return Given(
        np.asarray(weight), [np.asarray(v) for v in values], [np.asarray(i) for i in indices]
    )


def _shapes(
    host: HostFunction, outputs: tuple[str, ...], values: Any, capacity: int
) -> list[tuple[int, int]]:
    kinds = [block.kind for block in host.network.blocks]
    batch = int(values[0].shape[kinds[0] == "current"])
    return [(batch, capacity or host.block(name).size) for name in outputs]
