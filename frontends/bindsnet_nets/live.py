"""Running a network by BindsNET itself."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch  # noqa: TID253  (this module is imported when a network is run)

from snnir.errors import error
from snnir.frontends.bindsnet_nets.build import draw_name
from snnir.frontends.bindsnet_nets.cells import draws_of, kind_of
from snnir.frontends.bindsnet_nets.plan import Plan, edge_name, plan_of
from snnir.frontends.bindsnet_nets.replay import Draws
from snnir.frontends.bindsnet_nets.rules import KEPT
from snnir.frontends.bindsnet_nets.values import Array, array_of
from snnir.kernels_learning import uniform

#: States of layers that are recorded where a layer has them.
STATES = ("v", "refrac_count", "i", "u", "x", "theta", "summed", "s_prob")


@dataclass
class Ran:
    """What a run by BindsNET gave.

    Attributes:
        spikes: [T, B, *shape] by layer.
        states: The same of states, by `layer:state`; theta is [T, *shape].
        weights: [pre, post] at the end, by the name of the connection.
        draws: The random numbers used, by layer.
    """

    spikes: dict[str, Array]
    states: dict[str, Array]
    weights: dict[str, Array]
    draws: dict[str, Array]


class LiveNetwork:
    """A network, run by BindsNET on a copy.

    Args:
        network: The network.
        options: How it is read; see `snnir.from_bindsnet`. With `draws="counter"` BindsNET is
            given the graph's random numbers.

    Attributes:
        names: Its layers, but inputs and those of whose spikes one is chosen.
    """

    def __init__(self, network: Any, **options: Any) -> None:
        self.plan = plan_of(network, **options)
        layers = self.plan.layers
        self.names = [n for n in self.plan.spiking if draws_of(layers[n]) != "choice"]

    def run(self, x: Any) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return the spikes of the layers from rest, [T, B, *shape], as outputs and records.

        Args:
            x: What the graph takes: [T, B, *shape] by input, or one such array.

        Raises:
            SnnirError: SNN601 if x does not fit the inputs, SNN801 if BindsNET fails.
        """
        ran = run_network(self.plan, given_inputs(self.plan, x))
        spikes = {name: ran.spikes[name] for name in self.plan.spiking}
        return spikes, {name: spikes[name] for name in self.names}


def record_draws(network: Any, x: Any, **options: Any) -> dict[str, Array]:
    """Return the random numbers a network would draw; see `snnir.bindsnet_draws`."""
    plan = plan_of(network, **{**options, "draws": "counter"})
    given = given_inputs(plan, x)
    if not plan.drawing:
        return {}
    ran = run_network(plan, given, recorded=True)
    return {draw_name(layer): numbers for layer, numbers in ran.draws.items()}


def given_inputs(plan: Plan, x: Any) -> dict[str, Array]:
    """Return what a graph's run takes, checked, by input of the graph.

    Raises:
        SnnirError: SNN601 if it does not fit.
    """
    wanted = input_shapes(plan)
    given = dict(x) if isinstance(x, Mapping) else dict.fromkeys(list(wanted)[:1], x)
    if set(given) != set(wanted):
        raise error("SNN601", f"its inputs are {', '.join(wanted)}, got {', '.join(given)}")
    found = {name: _numbers(name, value) for name, value in given.items()}
    leads = {array.shape[:2] for array in found.values()}
    for name, array in found.items():
        if array.shape[2:] != wanted[name] or len(array.shape) < 3 or len(leads) != 1:
            listed = ", ".join(("T", "B", *map(str, wanted[name])))
            raise error("SNN601", f"input '{name}' must be [{listed}], is {list(array.shape)}")
        if not array.size:
            raise error("SNN601", f"input '{name}' has no steps or no samples")
        spikes = name in plan.layers
        if spikes and not np.isin(array, (0.0, 1.0)).all():
            raise error("SNN601", f"input '{name}' carries spikes, its values must be 0 or 1")
    return found


def _numbers(name: str, value: Any) -> Array:
    try:
        array = np.array(value, np.float32)
    except (TypeError, ValueError) as failure:
        raise error("SNN601", f"input '{name}' is no array of numbers: {failure}") from failure
    if not np.isfinite(array).all():
        raise error("SNN601", f"input '{name}' contains NaN or infinity")
    return array


def input_shapes(plan: Plan) -> dict[str, tuple[int, ...]]:
    """Return the shape of every input of the graph, without time and batch."""
    shapes = {name: tuple(int(n) for n in layer.shape) for name, layer in plan.layers.items()}
    found = {name: shape for name, shape in shapes.items() if name not in plan.spiking}
    found |= {f"{name}.input": shapes[name] for name in plan.inputs}
    if plan.options.draws == "input":
        found |= {draw_name(name): shapes[name] for name in plan.drawing}
    rules = [type(c.update_rule).__name__ for c in plan.connections.values()]
    if plan.network.learning and {"MSTDP", "MSTDPET", "Rmax"} & set(rules):
        found[plan.reward] = (1,)
    return found


def run_network(plan: Plan, given: Mapping[str, Array], recorded: bool = False) -> Ran:
    """Run a copy of a network from rest.

    Args:
        plan: The network.
        given: [T, B, *shape] by input of the graph.
        recorded: Let torch draw, and write the numbers down.

    Raises:
        SnnirError: SNN801 if BindsNET fails.
    """
    try:
        network = _copied(plan.network)
    except Exception as failure:
        what = f"the network cannot be copied: {type(failure).__name__}: {failure}"
        raise error("SNN801", what, hint="remove what is not BindsNET's from it") from failure
    steps, batch = next(iter(given.values())).shape[:2]
    runner = _Runner(plan, network, given, steps, batch, recorded)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            return runner.run()
        except Exception as failure:
            if type(failure).__name__ == "SnnirError":
                raise
            what = f"BindsNET does not run it: {type(failure).__name__}: {failure}"
            raise error("SNN801", what) from failure


def _copied(network: Any) -> Any:
    """Return a copy without monitors; torch does not copy sparse parameters by itself."""
    copies: dict[int, Any] = {id(network.monitors): {}}
    for connection in network.connections.values():
        w = getattr(connection, "w", None)
        if w is not None and w.is_sparse:
            copies[id(w)] = torch.nn.Parameter(w.detach().clone(), requires_grad=False)
    return copy.deepcopy(network, copies)


def to_rest(network: Any, batch: int) -> None:
    """Put a network at rest as it is before its first run, with lasting states as they are."""
    network.batch_size = batch
    for layer in network.layers.values():
        layer.set_batch_size(batch)
    for connection in network.connections.values():
        if hasattr(connection, "firing_rates"):
            connection.firing_rates = torch.zeros(batch, *connection.source.shape)
        for name in KEPT:
            vars(connection.update_rule).pop(name, None)


@dataclass
class _Runner:
    plan: Plan
    network: Any
    given: Mapping[str, Array]
    steps: int
    batch: int
    recorded: bool
    step: int = 0
    seen: dict[str, list[Array]] = field(default_factory=dict)

    def run(self) -> Ran:
        """Run the copy."""
        network, options = self.network, self.plan.options
        to_rest(network, self.batch)
        numbers = self.numbers()
        draws = Draws(numbers, self.recorded)
        self.watch(draws)
        rates = {k: v for k in ("a_plus", "a_minus") if (v := getattr(options, k)) is not None}
        masks = {k: torch.as_tensor(array_of(v)) for k, v in options.masks.items()}
        network.run(
            inputs=self.inputs(), time=(self.steps + 0.5) * float(network.dt),
            one_step=options.one_step, masks=masks, reward=0.0, **rates,
        )  # fmt: skip
        weights = {
            edge_name(edge): array_of(connection.w)
            for edge, connection in network.connections.items()
            if hasattr(connection, "w")
        }
        stacked = {name: np.stack(parts) for name, parts in self.seen.items()}
        states = {name: array for name, array in stacked.items() if ":" in name}
        spikes = {name: array for name, array in stacked.items() if ":" not in name}
        return Ran(spikes, states, weights, numbers)

    def inputs(self) -> dict[str, Any]:
        names = {name: name for name in self.plan.layers if name not in self.plan.spiking}
        names |= {name: f"{name}.input" for name in self.plan.inputs}
        return {name: torch.from_numpy(np.array(self.given[key])) for name, key in names.items()}

    def numbers(self) -> dict[str, Array]:
        """Return the random numbers of every drawing layer, [T, B, *shape]."""
        found = {}
        for name, seed in self.plan.drawing.items():
            layer = self.plan.layers[name]
            shape = tuple(int(extent) for extent in layer.shape)
            if self.recorded:
                found[name] = np.ones((self.steps, self.batch, *shape), np.float32)
            elif self.plan.options.draws == "input":
                found[name] = self.given[draw_name(name)]
            else:
                drawn = [uniform(seed, t, self.batch, shape, np.float32) for t in range(self.steps)]
                found[name] = np.stack(drawn)
                if draws_of(layer) == "threshold":
                    found[name] = np.float32(1.0) - found[name]
        return found

    def watch(self, draws: Draws) -> None:
        """Record layers when they have been computed; give rules the reward of the step."""
        names = list(self.network.layers)
        for name, layer in self.network.layers.items():
            layer.forward = self._watched(name, layer, draws, last=name == names[-1])
        for connection in self.network.connections.values():
            connection.update = self._rewarded(connection.update)

    def _watched(self, name: str, layer: Any, draws: Draws, last: bool) -> Any:
        forward = layer.forward

        def run(x: Any) -> None:
            draws.layer, draws.step, draws.fired = name, self.step, lambda: layer.s
            with draws if name in self.plan.drawing else nullcontext():
                forward(x=x)
            if not self.recorded:
                self.note(name, layer)
            self.step += last

        return run

    def note(self, name: str, layer: Any) -> None:
        self.seen.setdefault(name, []).append(array_of(layer.s.float()).copy())
        if kind_of(layer) == "Input":
            return
        for state in STATES:
            value = getattr(layer, state, None)
            if value is not None:
                self.seen.setdefault(f"{name}:{state}", []).append(array_of(value).copy())

    def _rewarded(self, update: Any) -> Any:
        name = self.plan.reward
        if name not in self.given:
            return update

        def run(**options: Any) -> None:
            reward = torch.from_numpy(np.array(self.given[name][self.step - 1]))
            options["reward"] = reward[:, :, None] if self.batch > 1 else reward.reshape(())
            update(**options)

        return run
