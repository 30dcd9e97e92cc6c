"""Calling a traced network from NumPy: shapes that share compiled code, devices, states.

This module depends on JAX, NumPy and the engine alone and is copied into emitted folders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from snnir.network import lasting_shapes
from snnir.targets.xla_sim.engine import TILE_ROWS, initial_state, simulate, simulate_tiles
from snnir.targets.xla_sim.stages import Program, precision, state_kind

Array = Any


def room_for(count: int) -> int:
    """Return the size that `count` steps or samples are padded to.

    Powers of two up to eight, then four sizes to an octave: other counts nearby run the same
    compiled code, and at most a quarter is room.
    """
    if count <= 8:
        return 1 << (count - 1).bit_length()
    unit = 1 << (count.bit_length() - 3)
    return -(-count // unit) * unit


def with_room(x: Any, room: int, batch: int) -> Any:
    """Return [T, B, ...] with zeros up to the given steps and samples."""
    if x.shape[:2] == (room, batch):
        return x
    padded = np.zeros((room, batch, *x.shape[2:]), x.dtype)
    padded[: x.shape[0], : x.shape[1]] = x
    return padded


def tile_for(room: int, batch: int) -> int:
    """Return how many steps to process at once: a divisor of the padded number of steps."""
    tiles = -(-room // max(1, TILE_ROWS // batch))
    while room % tiles:
        tiles += 1
    return room // tiles


def whole_tile(time: int, batch: int) -> int:
    """Return how many steps to process at once when the number of steps is known.

    A divisor if there is one near the best size, so that no shorter tile is left over.
    """
    most = max(1, min(time, TILE_ROWS // batch))
    fitting = [n for n in range(most, 0, -1) if time % n == 0 and 2 * n >= most]
    return fitting[0] if fitting else most


def unknown_low(x: Array) -> Array:
    """Return minus infinity so that the compiler cannot know it; see `kernels.guard`.

    A constant would be folded away inside a caller's `jit`, and so would a choice between
    constants where there is one step and no loop. What is added to minus infinity might be NaN as
    far as the compiler knows; no input is.
    """
    first = x.reshape(-1)[0].astype(jnp.float32)
    return jnp.minimum(first, 0.0) + np.float32(-np.inf)


def needs_wide(program: Program) -> bool:
    """Return whether anything is computed in float64."""
    model = program.model
    stepping = [u for u in model.units.values() if u.kind in ("neuron", "plastic")]
    wide = any(program.steps[unit.function].wide for unit in stepping)
    sums = any(unit.options.get("acc") == "float64" for unit in model.units.values())
    norms = any(unit.function == "batch_norm" for unit in model.units.values())
    return wide or sums or norms or "float64" in (model.dtype, model.acc)


def is_pooling(program: Program) -> bool:
    """Return whether samples depend on each other, so that there must be no others."""
    units = program.model.units.values()
    return any(u.function in program.steps and program.steps[u.function].pooling for u in units)


def kept_states(
    program: Program, tensors: Mapping[str, Any], lasting: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what lasts before the first step, in the types of the states.

    Args:
        program: The network.
        tensors: Its tensors by `node.attribute`.
        lasting: What lasts of an earlier run; the rest is as the network has it.
    """
    found = {}
    for unit in program.model.units.values():
        for key, shape in unit.lasting.items():
            name, first = f"{unit.name}:{key}", unit.initial[key]
            value = tensors[unit.tensors[first]] if isinstance(first, str) else first
            value = np.asarray(lasting.get(name, value)).astype(state_kind(program, unit))
            found[name] = np.broadcast_to(value, shape)
    return found


def as_given(
    lasting: Mapping[str, Any], known: Mapping[str, tuple[tuple[int, ...], str]]
) -> dict[str, Any]:
    """Return what lasts, with whole numbers as such.

    Args:
        lasting: By `node:state`.
        known: Shape and element type of each.
    """
    found = {name: np.array(value) for name, value in lasting.items()}
    whole = [name for name in found if "int" in known[name][1]]
    return found | {name: found[name].astype(np.int64) for name in whole}


class TooFewDevices(Exception):
    """A mesh has more places than there are devices."""


class Mesh:
    """Devices in two axes: samples and neurons.

    Args:
        batch: Parts that the batch is split into.
        neurons: Parts that every population's first axis is split into, where it divides.

    Raises:
        TooFewDevices: If there are not as many.
    """

    def __init__(self, batch: int, neurons: int) -> None:
        self.batch, self.neurons = batch, neurons
        kinds = getattr(jax.sharding, "AxisType", None)
        extra = {} if kinds is None else {"axis_types": (kinds.Auto, kinds.Auto)}
        chosen = jax.devices()[: batch * neurons]
        if len(chosen) < batch * neurons:
            raise TooFewDevices(
                f"a mesh of {batch} x {neurons} has {batch * neurons} places, there are "
                f"{len(chosen)} devices (on a CPU, "
                f"XLA_FLAGS=--xla_force_host_platform_device_count={batch * neurons} makes them)"
            )
        self.mesh = jax.make_mesh((batch, neurons), ("batch", "neurons"), devices=chosen, **extra)

    def put(self, value: Any, *axes: str | None) -> Array:
        """Return an array spread over the devices; axes that do not divide stay whole."""
        value = np.asarray(value)
        sizes = {"batch": self.batch, "neurons": self.neurons}
        fitting = [
            axis if axis is not None and value.shape[i] % sizes[axis] == 0 else None
            for i, axis in enumerate(axes)
        ]
        sharding = NamedSharding(self.mesh, PartitionSpec(*fitting))
        return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])


class Simulator:
    """Runs a network on NumPy arrays.

    Args:
        program: The network.
        tensors: Its tensors by `node.attribute`.
        exact: Keep products and sums from being rounded together.
        mesh: Devices to spread over.
    """

    def __init__(
        self, program: Program, tensors: Mapping[str, Any], exact: bool = True,
        mesh: Mesh | None = None,
    ) -> None:  # fmt: skip
        self.program, self.mesh = program, mesh
        self.wide = needs_wide(program)
        self.pooling = is_pooling(program)
        self._state: Any = None
        self._late: dict[str, Any] = {}
        self._batch = 0
        with precision(self.wide):
            self.tensors = {name: self.place(name, value) for name, value in tensors.items()}
            self.low = jnp.asarray(-np.inf, jnp.float32) if exact else None
            if mesh is not None and exact:
                self.low = mesh.put(np.float32(-np.inf))
        replicated = None
        if mesh is not None:
            replicated = NamedSharding(mesh.mesh, PartitionSpec())
        self._run = jax.jit(
            partial(simulate_tiles, program), static_argnames=("wanted", "tile"),
            **({} if replicated is None else {"out_shardings": replicated}),
        )  # fmt: skip
        self._rest = jax.jit(partial(initial_state, program), static_argnums=1)

    def place(self, name: str, value: Any) -> Array:
        """Return a tensor on the devices: synapses and neurons are split by their outputs."""
        if self.mesh is None:
            return jnp.asarray(value)
        axes = ("neurons",) + (None,) * (np.ndim(value) - 1) if np.ndim(value) else ()
        return self.mesh.put(value, *axes)

    def device_inputs(self, inputs: Mapping[str, Any], room: int, batch: int) -> dict[str, Array]:
        """Return inputs with room for more steps and samples, on the devices."""
        found = {}
        for name, given in inputs.items():
            x = with_room(np.asarray(given, self.program.model.dtype), room, batch)
            found[name] = jnp.asarray(x) if self.mesh is None else self.mesh.put(x, None, "batch")
        return found

    def run(
        self, inputs: Mapping[str, Any], record: Sequence[str] = (), resume: bool = False,
        lasting: Mapping[str, Any] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, float]]:  # fmt: skip
        """Run the network.

        Args:
            inputs: [T, B, *shape] by input name.
            record: Values to return: `node` or `node:state`.
            resume: Go on from where the last call ended.
            lasting: What lasts of an earlier run (see `lasting`) instead of what the network has.

        Returns:
            Outputs and records by name, [T, B, *shape] (B is 1 for states that all samples share);
            the number of spikes by population.

        Raises:
            ValueError: If a run is resumed with another batch.
        """
        model = self.program.model
        time, count = next(iter(inputs.values())).shape[:2]
        room, batch = room_for(time), count if self.pooling else room_for(count)
        if self.mesh is not None and not self.pooling:
            batch = -(-batch // self.mesh.batch) * self.mesh.batch
        tile = tile_for(room, batch)
        if resume and self._state is not None and count != self._batch:
            raise ValueError(f"resumes with a batch of {count}, the run had {self._batch}")
        names = tuple(dict.fromkeys([*model.outputs.values(), *record]))
        with precision(self.wide):
            if not resume or self._state is None:
                given = self.started(lasting or {})
                self._state, self._late = self._rest(self.tensors, batch, given), {}
            xs = self.device_inputs(inputs, room, batch)
            values, sums, self._state = self._run(
                self.tensors, self._state, xs, self.low, np.int32(time), wanted=names, tile=tile
            )
            self._batch = count
            found = {name: np.asarray(y)[:time, :count] for name, y in values.items()}
            totals = {name: float(np.asarray(y)[:count].sum()) for name, y in sums.items()}
        if model.offset:
            found = {name: self.late(name, y) for name, y in found.items()}
        outputs = {key: found[name] for key, name in model.outputs.items()}
        return outputs, {name: found[name] for name in record}, totals

    def lasting(self) -> dict[str, Any]:
        """Return what lasts of the last run, by `node:state`, in the types of the states."""
        return kept_of(self.program, self._state)

    def started(self, lasting: Mapping[str, Any]) -> dict[str, Any]:
        """Return what lasts before the first step, given some of it."""
        return kept_states(self.program, self.tensors, lasting)

    def late(self, name: str, y: Any) -> Any:
        """Shift a trace by the record offset; what does not fit is kept for the next call."""
        offset = self.program.model.offset
        before = self._late.get(name, np.zeros((offset, *y.shape[1:]), y.dtype))
        line = np.concatenate([before, y])
        self._late[name] = line[len(y) :]
        return line[: len(y)]


def kept_of(program: Program, state: Any) -> dict[str, Array]:
    """Return what lasts of a state, by `node:state`."""
    places = {name: name.rpartition(":") for name in lasting_shapes(program.model)}
    return {name: state[node][key][0] for name, (node, _, key) in places.items()}


def forward(
    program: Program, tensors: Any, low: Array | None, inputs: Any, tile: int = 0,
    lasting: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Array], dict[str, Array]]:  # fmt: skip
    """Run a network from rest, but for what lasts: what is exported.

    Returns:
        The outputs, and what lasts, by `node:state`.
    """
    model = program.model
    batch = next(iter(inputs.values())).shape[1]
    state = initial_state(program, tensors, batch, lasting)
    wanted = tuple(model.outputs.values())
    values, state = simulate(program, tensors, state, inputs, low, wanted, tile)
    found = {}
    for key, name in model.outputs.items():
        y = values[name]
        if model.offset:
            line = jnp.concatenate([jnp.zeros((model.offset, *y.shape[1:]), y.dtype), y])
            y = line[: y.shape[0]]
        found[key] = y
    return found, kept_of(program, state)
