"""Running a schedule with torch.

This module depends on torch and `snnir.network` alone and is copied into emitted folders; a network
built in memory runs the same code. Feed-forward nodes take all steps of a tile at once, neurons
scan over time, recurrences step together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from snnir.network import Loop, Model, Step, Unit
from snnir.targets.torch_sim.holding import Holder, State, Values
from snnir.targets.torch_sim.learning import (
    PlasticSums,
    inner_dtype,
    learned,
    normalised,
    uniform,
)
from snnir.targets.torch_sim.scans import Eager, Scan, after, split

#: Rows (time steps times batch) that feed-forward stages process at once when nothing is trained.
TILE_ROWS = 1024

Kernels = Mapping[str, Callable[..., Tensor]]


class Instead(torch.autograd.Function):
    """Recorded values with the gradient of the computed ones."""

    @staticmethod
    def forward(ctx: Any, computed: Tensor, recorded: Tensor) -> Tensor:
        """Return what was recorded."""
        return recorded.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient as that of the computed values."""
        return gradients[0], None


class Network(Holder):
    """A spiking network over [T, B, *shape]; see `Holder` for its parameters and buffers.

    Args:
        model: What is run.
        steps: The step programs by name.
        kernels: The stateless ops by name.
        tensors: Value of every tensor by `node.attribute`.
        trained: Names of the tensors that are trained; the others are parameters without a
            gradient, or buffers where they are whole numbers.
        kit: Compiled kernels to use where they pay; see `snnir.targets.torch_sim.compiled`.

    Attributes:
        stateful: Go on from the last call's state instead of from rest; `reset` forgets it.

    Every call starts from the states that outlive a run as the buffers have them; in training mode
    (`train()`) it leaves in them what it learned, in `eval()` mode it does not.
    """

    def __init__(
        self, model: Model, steps: Mapping[str, Step], kernels: Kernels,
        tensors: Mapping[str, Tensor], trained: Sequence[str] = (),
        kit: Any = None,
    ) -> None:  # fmt: skip
        stored = getattr(kit, "stored", lambda model, name, value: value)
        super().__init__(model, steps, tensors, trained, partial(stored, model))
        self.stateful = False
        self._steps, self._kernels, self.kit = dict(steps), kernels, kit
        self._state: State | None = None
        self._runners: dict[tuple[str, torch.device], Any] = {}
        self._pairs = pairs(model)
        # What compiled loops give out.
        self.read_outside = {*model.outputs.values(), *model.populations}
        for loop in model.loops.values():
            others = [unit for unit in model.units.values() if unit.name not in loop.units]
            read = {name for unit in others for name in unit.operands}
            self.read_outside |= {*read, *(loop.aliases.get(name, name) for name in read)}
        aliases = {new: old for loop in model.loops.values() for new, old in loop.aliases.items()}
        self.read_outside |= {aliases.get(name, name) for name in self.read_outside}

    def reset(self) -> None:
        """Forget the state of the last call."""
        self._state = None

    def forward(self, *inputs: Tensor | Mapping[str, Tensor]) -> Any:
        """Run the network.

        Args:
            inputs: [T, B, *shape] for every input, in order or as one mapping by name.

        Returns:
            The output [T, B, *shape]; a mapping by name if there are several.
        """
        given = inputs[0]
        if not isinstance(given, Mapping):
            given = dict(zip(self.model.inputs, inputs, strict=True))
        state = self._state if self.stateful else None
        outputs, _, state = self.simulate(given, (), None if state is None else self.renewed(state))
        if self.training:
            self.set_lasting(self.lasting_of(state))
        if self.stateful:
            self._state = {k: {n: v.detach() for n, v in own.items()} for k, own in state.items()}
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    def simulate(
        self, inputs: Mapping[str, Tensor], record: Sequence[str] = (),
        state: State | None = None, sums: dict[str, float] | None = None,
        lasting: Values | None = None,
    ) -> tuple[Values, Values, State]:  # fmt: skip
        """Run the network and record; the network itself stays as it is.

        Args:
            inputs: [T, B, *shape] for every input.
            record: Values to return: `node` or `node:state`.
            state: Where to go on from, as returned before.
            sums: Filled with the number of spikes of every population.
            lasting: Without a state: what lasts of an earlier run, by `node:state`, in the dtypes
                of the buffers; by default what those hold.

        Returns:
            Outputs by name, records by name (both [T, B, *shape]; of lasting states [T, 1,
            *shape]), the state after the last step.
        """
        model, kind = self.model, getattr(torch, self.model.dtype)
        for name, shape in model.inputs.items():
            found = tuple(inputs[name].shape)
            if len(found) != len(shape) + 2 or found[2:] != tuple(shape):
                raise ValueError(f"input {name!r} must be [T, B, *{shape}], got {found}")
        first = next(iter(inputs.values()))
        time, batch = first.shape[:2]
        if not time or not batch:
            raise ValueError(f"there must be a step and a sample, got [T, B] = [{time}, {batch}]")
        self.check_state(state or {}, batch)
        # Sums and scans keep the precision of the graph under autocast too.
        amp = torch.is_autocast_enabled(first.device.type)
        with torch.autocast(first.device.type, enabled=False) if amp else nullcontext():
            given = {name: x.to(kind) for name, x in inputs.items()}
            known = {**self.lasting, **(lasting or {})}
            state = self.initial_state(batch, first, known) if state is None else dict(state)
            wanted = dict.fromkeys([*model.outputs.values(), *record])
            self.check_recorded(time, batch)
            whole = torch.is_grad_enabled() or self._recorded
            step = time if whole else max(1, TILE_ROWS // batch)
            tiles = []
            for at in range(0, time, step):
                values = {name: x[at : at + step] for name, x in given.items()}
                self.run_tile(values, state, set(record))
                tiles.append({name: values[name] for name in wanted})
                if sums is not None:
                    for name in model.populations:
                        spikes = float(values[name].sum(dtype=torch.float64))
                        sums[name] = sums.get(name, 0.0) + spikes
            self.end_run(state)
            traces = {
                name: tiles[0][name] if len(tiles) == 1 else torch.cat([v[name] for v in tiles])
                for name in wanted
            }
            if model.offset:
                traces = {name: late(model, name, y, state) for name, y in traces.items()}
        outputs = {key: traces[name] for key, name in model.outputs.items()}
        return outputs, {name: traces[name] for name in record}, state

    def check_state(self, state: State, batch: int) -> None:
        """Raise ValueError if a state to go on from is of another batch."""
        for name, own in state.items():
            unit = self.model.units.get(name)
            lines = unit is None or unit.kind == "delay"
            for key, v in own.items():
                found = v.shape[1 if lines else 0]
                known = key if unit is None else f"{name}:{key}"
                if found != batch and known not in self._lasting:
                    went = f"the state is of a batch of {found}, the input has {batch}"
                    raise ValueError(f"{went}; `reset()` forgets it")

    def check_recorded(self, time: int, batch: int) -> None:
        """Raise ValueError if recorded values are not [T, B, *shape]."""
        units = self.model.units
        shapes = {name: unit.shape for unit in units.values() for name in unit.results}
        for name, value in self._recorded.items():
            if value.shape != (time, batch, *shapes[name]):
                shape = [time, batch, *shapes[name]]
                raise ValueError(f"values of '{name}' are {list(value.shape)}, must be {shape}")

    def put_recorded(self, unit: Unit, values: Values, first: int = 0) -> None:
        """Put recorded values from step `first` on in the place of computed ones."""
        for name in unit.results:
            if name in self._recorded:
                y = values[name]
                recorded = self._recorded[name][first : first + len(y)]
                values[name] = Instead.apply(y, recorded.to(y.device, y.dtype))

    def initial_state(self, batch: int, like: Tensor, lasting: Values) -> State:
        """Return the state of everything that remembers before the first step."""
        state: State = {}
        kind = getattr(torch, self.model.dtype)
        for unit in self.model.units.values():
            shape = (batch, *unit.shape)
            if unit.kind == "delay":
                longest = (
                    int(self.delay_steps(unit).max()) if "steps" in unit.tensors else unit.steps
                )
                state[unit.name] = {"history": like.new_zeros((longest, *shape), dtype=kind)}
            elif unit.kind != "op":
                inner = inner_dtype(self.model, self._steps, unit)
                state[unit.name] = own = {}
                for key, value in unit.initial.items():
                    if key in unit.lasting:
                        own[key] = lasting[f"{unit.name}:{key}"][None].to(like.device, inner)
                    elif isinstance(value, str):
                        start = self.tensor(unit.tensors[value])
                        own[key] = start.to(like.device, inner).expand(shape)
                    else:
                        own[key] = like.new_full(shape, value, dtype=inner)
        return state

    def end_run(self, state: State) -> None:
        """Normalise the weights that are normalised when a run ends."""
        for unit in self.model.units.values():
            if unit.kind == "plastic" and "total" in unit.tensors:
                key, total = unit.options["weight"], self.tensor(unit.tensors["total"])
                weight = state[unit.name][key][0]
                with torch.no_grad():
                    new = normalised(weight, total, unit.options["sums"])[None]
                state[unit.name] = {**state[unit.name], key: new}

    def delay_steps(self, unit: Unit) -> Tensor:
        """Return the delays of a unit that has one per element."""
        return self.tensor(unit.tensors["steps"])

    def run_tile(self, values: Values, state: State, watch: set[str]) -> None:
        """Run every stage on a tile; `values` gains what others read, is recorded or given out."""
        done: set[str] = set()
        for kind, names in self.model.stages:
            units = [self.model.units[name] for name in names if name in self.model.units]
            if not units or units[0].name in done:
                continue
            if units[0].kind == "random":
                self.run_random(units[0], values, state)
            elif kind == "batched":
                done |= self.run_ops(units, values, watch)
            elif kind == "scan":
                self.run_scan(units[-1], values, state, watch)
            elif kind == "unit":
                joined = self.joins(units, watch)
                done |= self.run_ops(units[: -2 if joined else -1], values, watch)
                if not joined or not self.run_layer(units[-2], units[-1], values, state):
                    done |= self.run_ops(units[-2:-1] if joined else (), values, watch)
                    self.run_scan(units[-1], values, state, watch)
                for unit in units[:-1]:
                    if unit.name not in watch:
                        values.pop(unit.name, None)
            elif kind == "shift":
                self.run_shift(units[0], values, state)
            elif kind == "loop" and not self.run_compiled_loop(units, values, state, watch):
                self.run_loop(units, values, state, watch)
            if units[-1].kind == "neuron" and kind in ("scan", "unit"):
                self.put_recorded(units[-1], values)

    def joins(self, units: Sequence[Unit], watch: set[str]) -> bool:
        """Return whether a unit ends with a linear layer that its population alone reads."""
        if self.kit is None or self.model.acc != "float32" or len(units) < 2:
            return False
        linear, neuron = units[-2:]
        states = {f"{neuron.name}:{key}" for key in neuron.initial}
        hidden = watch.isdisjoint({linear.name, *states})
        return hidden and linear.function == "linear" and neuron.operands == linear.results

    def run_layer(self, linear: Unit, neuron: Unit, values: Values, state: State) -> bool:
        """Run a linear layer and its population in one; return whether that was possible."""
        step: Step = self._steps[neuron.function]
        params = [self.tensor(neuron.tensors[name]) for name in step.params]
        states = [state[neuron.name][key] for key in step.states]
        made = self.kit.layer(self, linear, step, values[linear.operands[0]], states, params)
        if made is None:
            return False
        outputs, final = made
        values.update(zip(neuron.results, outputs, strict=True))
        state[neuron.name] = dict(zip(step.states, final, strict=True))
        return True

    def run_ops(self, units: Sequence[Unit], values: Values, watch: set[str]) -> set[str]:
        """Run stateless ops one after the other; return what was run."""
        done: set[str] = set()
        for unit in units:
            if unit.name not in done:
                pair = self.run_pair(unit, values, watch)
                done |= pair or self.run_batched(unit, values)
        return done

    def run_pair(self, unit: Unit, values: Values, watch: set[str]) -> set[str]:
        """Run a convolution and the pooling after it in one; return what was run."""
        pool = self._pairs.get(unit.name)
        if pool is None or self.kit is None or self.model.acc != "float32" or unit.name in watch:
            return set()
        x = values[unit.operands[0]]
        own = {key: self.tensor(name) for key, name in unit.tensors.items()}
        y = self.kit.pair(x.flatten(0, 1), own, unit.options, pool.options)
        if y is None:
            return set()
        values[pool.results[0]] = y.reshape(*x.shape[:2], *y.shape[1:])
        return {unit.name, pool.name}

    def run_batched(self, unit: Unit, values: Values) -> set[str]:
        """Apply a stateless op to all steps of the tile at once; return what was run."""
        tensors = [values[name] for name in unit.operands]
        time, batch = tensors[0].shape[:2]
        rows = [x.reshape(time * batch, *x.shape[2:]) for x in tensors]
        own = {key: self.tensor(name) for key, name in unit.tensors.items()}
        y = None
        if self.kit is not None and self.model.acc == "float32":
            y = self.kit.apply(unit.function, rows, own, unit.options)
        if y is None:
            y = self._kernels[unit.function](*rows, **own, **unit.options)
        values[unit.results[0]] = y.reshape(time, batch, *y.shape[1:])
        return {unit.name}

    def runner(self, name: str, device: torch.device) -> Any:
        """Return what scans a step on a device."""
        key = (name, device)
        if key not in self._runners:
            step, kind = self._steps[name], getattr(torch, self.model.dtype)
            made = self.kit.runner(step, device, kind) if self.kit is not None else None
            self._runners[key] = Eager(step) if made is None else made
        return self._runners[key]

    def run_scan(self, unit: Unit, values: Values, state: State, watch: set[str]) -> None:
        """Step one neuron population through the tile."""
        inputs = [values[name] for name in unit.operands]
        runner = self.runner(unit.function, inputs[0].device)
        step: Step = runner.step
        params = [self.tensor(unit.tensors[name]) for name in step.params]
        own = state[unit.name]
        watched = [key for key in step.states if f"{unit.name}:{key}" in watch]
        states = [own[key] for key in step.states]
        tensors = [*inputs, *states, *params]
        if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
            made = Scan.apply(runner, bool(watched), *tensors)
            count = len(step.states)
            outputs, final, traces = split(made, step.outputs, count, count if watched else 0)
        else:
            outputs, final, history = runner.forward(inputs, states, params, bool(watched))
            traces = after(history, final) if watched else []
        values.update(zip(unit.results, outputs, strict=True))
        state[unit.name] = dict(zip(step.states, final, strict=True))
        for key, trace in zip(step.states, traces, strict=False):
            values[f"{unit.name}:{key}"] = trace

    def run_random(self, unit: Unit, values: Values, state: State) -> None:
        """Draw random numbers for every step of the tile."""
        x, first = values[unit.operands[0]], state[unit.name]["step"]
        steps = first + torch.arange(len(x), device=first.device)
        shape, seed = unit.shape, unit.options["seed"]
        values[unit.results[0]] = uniform(seed, steps, x.shape[1], shape, x.dtype)
        state[unit.name] = {"step": (first + len(x)) % (1 << 32)}

    def run_synapses(self, unit: Unit, now: Values, state: State) -> None:
        """Pass one step through synapses as they are."""
        weight = state[unit.name][unit.options["weight"]][0]
        now[unit.results[0]] = PlasticSums.apply(now[unit.operands[0]][0], weight)[None]

    def run_rule(self, unit: Unit, now: Values, state: State, watch: set[str]) -> None:
        """Let synapses learn from what this step was."""
        step = self._steps[unit.function]
        inputs = [now[name][0] for name in unit.operands[1:]]
        params = [self.tensor(unit.tensors[name]) for name in step.params]
        own = learned(step, inputs, unit.options["reads"], state[unit.name], params)
        state[unit.name] = own
        names = ((f"{unit.name}:{key}", value) for key, value in own.items())
        now.update({name: value[None] for name, value in names if name in watch})

    def run_shift(self, unit: Unit, values: Values, state: State) -> None:
        """Advance a delay line by the tile."""
        x, history = values[unit.operands[0]], state[unit.name]["history"]
        line = torch.cat([history, x])
        values[unit.results[0]] = self.delayed(unit, line, len(history), len(x))
        state[unit.name] = {"history": line[len(x) :]}

    def delayed(self, unit: Unit, line: Tensor, length: int, time: int) -> Tensor:
        """Return the next `time` values of a line of `length` past values and new ones."""
        if "steps" not in unit.tensors:
            first = length - unit.steps
            return line[first : first + time]
        steps = self.delay_steps(unit).to(line.device).expand(line.shape[2:])
        times = torch.arange(time, device=line.device).reshape(-1, *(1,) * (line.ndim - 1))
        return line.gather(0, (times + (length - steps)).expand(time, *line.shape[1:]))

    def run_compiled_loop(
        self, units: Sequence[Unit], values: Values, state: State, watch: set[str]
    ) -> bool:
        """Step a recurrence in compiled code; return whether that was possible."""
        runner = self.kit.loop(self, units[0].name, values) if self.kit is not None else None
        inside = {name for unit in units for name in unit.results}
        if runner is None or not inside.isdisjoint(self._recorded):
            return False
        loop: Loop = runner.loop
        inputs = [values[name] for name in loop.outside]
        states = [state[name][key] for name, key in loop.states]
        lines = [state[name]["history"] for name, _ in loop.delays]
        tensors = [self.tensor(self.model.units[n].tensors[key]) for n, key in loop.tensors]
        everything = [*inputs, *states, *lines, *tensors]
        traced = [(name, key) for name, key in loop.states if f"{name}:{key}" in watch]
        reached = self.read_outside | watch | {loop.aliases.get(name, name) for name in watch}
        wanted = [name in reached for name in loop.values]
        if torch.is_grad_enabled() and any(x.requires_grad for x in everything):
            if traced:
                return False
            outputs, own, held = runner.scan(wanted, *everything)
        else:
            outputs, own, held, history = runner.forward(
                inputs, states, lines, tensors, wanted, traced=bool(traced)
            )
            if traced:
                names = [f"{name}:{key}" for name, key in loop.states]
                values.update(zip(names, after(history, own), strict=True))
        found = zip(loop.values, outputs, strict=True)
        values.update({name: y for name, y in found if y is not None})
        for new, old in loop.aliases.items():
            if old in values:
                shape = self.model.units[new].shape
                values[new] = values[old].reshape(*values[old].shape[:2], *shape)
        for (name, key), v in zip(loop.states, own, strict=True):
            state[name] = {**state[name], key: v}
        for (name, _), line in zip(loop.delays, held, strict=True):
            state[name] = {"history": line}
        return True

    def run_loop(
        self, units: Sequence[Unit], values: Values, state: State, watch: set[str]
    ) -> None:
        """Step a recurrence: delays give what they hold, the rest runs in order, delays take in."""
        inside = {name for unit in units for name in unit.results}
        outside = {name for unit in units for name in unit.operands} - inside
        collected: dict[str, list[Tensor]] = {}
        for t in range(len(values[min(outside or set(values))])):
            now = {name: values[name][t : t + 1] for name in outside}
            for unit in units:
                self.give(unit, now, state, watch, t)
            for unit in units:
                self.take_in(unit, now, state, watch)
            for name, y in now.items():
                if name not in outside:
                    collected.setdefault(name, []).append(y)
        for name, steps in collected.items():
            values[name] = torch.cat(steps)

    def give(self, unit: Unit, now: Values, state: State, watch: set[str], t: int) -> None:
        """Compute what a node of a recurrence gives in step t."""
        if unit.kind == "delay":
            line = state[unit.name]["history"]
            now[unit.results[0]] = self.delayed(unit, line, len(line), 1)
        elif unit.kind == "neuron":
            self.run_scan(unit, now, state, watch)
            self.put_recorded(unit, now, t)
        elif unit.kind == "plastic":
            self.run_synapses(unit, now, state)
        elif unit.kind == "random":
            self.run_random(unit, now, state)
        else:
            self.run_batched(unit, now)

    def take_in(self, unit: Unit, now: Values, state: State, watch: set[str]) -> None:
        """End a step of a recurrence: delays take in their operand, synapses learn."""
        if unit.kind == "plastic":
            self.run_rule(unit, now, state, watch)
        elif unit.kind == "delay":
            line = torch.cat([state[unit.name]["history"], now[unit.operands[0]]])
            state[unit.name] = {"history": line[1:]}


def pairs(model: Model) -> dict[str, Unit]:
    """Return the convolutions whose only reader is a maximum over windows, with that reader."""
    readers: dict[str, list[Unit]] = {}
    for unit in model.units.values():
        for name in unit.operands:
            readers.setdefault(name, []).append(unit)
    found: dict[str, Unit] = {}
    for unit in model.units.values():
        users = readers.get(unit.name, [])
        hidden = unit.name not in model.outputs.values()
        if unit.function == "convolution" and hidden and len(users) == 1:
            found |= {unit.name: users[0]} if users[0].function == "max_pool" else {}
    return found


def late(model: Model, name: str, y: Tensor, state: State) -> Tensor:
    """Shift a trace by the record offset; what does not fit is kept for the next call."""
    held = state.setdefault("", {})
    before = held.get(name)
    if before is None:
        before = y.new_zeros((model.offset, *y.shape[1:]))
    line = torch.cat([before, y])
    held[name] = line[len(y) :]
    return line[: len(y)]
