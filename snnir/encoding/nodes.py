"""What an encoder is, and the nodes that compute it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from snnir.dynamics import Dynamics
from snnir.encoding import programs
from snnir.errors import error
from snnir.ir import Editor, Linear, MaxPool2d, Op, Reshape, Step, Uniform, Value
from snnir.tensors import FrozenDict, Tensor, tensor

#: Kinds of encoders.
KINDS = ("bernoulli", "delta", "latency", "poisson", "rank-order", "repeat")
#: Of these, those that one datum lasts a stated number of steps for.
WINDOWED = ("latency", "rank-order")
#: What `latency` may be.
CODES = ("linear", "charging")


def wrong_option(name: str, value: object, kind: str) -> str:
    """Return what is wrong with an option, or an empty string.

    Args:
        name: Its name.
        value: What was given.
        kind: Its type: `bool`, `int`, `float` (finite) or `str`.
    """
    wanted = {
        "bool": ("true or false", (bool, np.bool_)),
        "int": ("a whole number", (int, np.integer)),
        "float": ("a number", (int, float, np.integer, np.floating)),
        "str": ("a word", (str,)),
    }
    what, types = wanted[kind]
    fits = isinstance(value, types) and (kind == "bool" or not isinstance(value, bool))
    if fits and kind == "float":
        fits = math.isfinite(value)  # type: ignore[arg-type]
    return "" if fits else f"{name} is {value!r}, must be {what}"


@dataclass(frozen=True)
class Encoder:
    """How numbers become spikes; see `docs/encoders.md`.

    Attributes:
        kind: One of `KINDS`.
        seed: Of the random numbers of `poisson` and `bernoulli`, from 0 to 2**64 - 1.
        rate: Of `poisson`: spikes per second and unit of the datum; of `bernoulli`: probability of
            a spike per step and unit of the datum.
        normalize: Of `bernoulli`: divide a sample by its largest element if that is above 1.
        time: Of `latency` and `rank-order`: steps of a window; the next one begins anew.
        code: Of `latency`: `linear`, or `charging` as a leaky integrator does.
        threshold: Of `delta`: the least rise that is a spike; of charging: where it fires.
        tau: Of charging: time constant in steps.
        padding: Of `delta`: the signal was before the first step what it is in it, and not 0.
    """

    kind: str
    seed: int = 0
    rate: float = 1.0
    normalize: bool = False
    time: int = 0
    code: str = "linear"
    threshold: float = 0.1
    tau: float = 1.0
    padding: bool = False

    def problem(self) -> str:
        """Return what is wrong with the options, or an empty string."""
        for field in fields(self):
            wrong = wrong_option(field.name, getattr(self, field.name), str(field.type))
            if wrong:
                return wrong
        if self.kind not in KINDS:
            return f"kind is '{self.kind}', must be {', '.join(KINDS)}"
        if not 0 <= self.seed < 1 << 64:
            return f"seed is {self.seed}, must be from 0 to 2**64 - 1"
        for name in ("rate", "threshold", "tau"):
            value = getattr(self, name)
            if value <= 0:
                return f"{name} is {value!r}, must be positive"
        if self.code not in CODES:
            return f"code is '{self.code}', must be {' or '.join(CODES)}"
        if self.kind in WINDOWED and not 2 <= self.time <= 1 << 24:
            return f"time is {self.time}, {self.kind} needs from 2 to 2**24 steps"
        return ""

    def attach(self, editor: Editor, x: Value, shape: tuple[int, ...], dt: float | None) -> Value:
        """Add the nodes that encode a value, and return the spikes.

        Args:
            editor: Of the graph.
            x: The datum, analog.
            shape: Its shape.
            dt: Seconds per step.

        Raises:
            SnnirError: SNN303 if `poisson` has no time step.
        """
        parts = _Parts(editor, x.node, shape)
        if self.kind == "repeat":
            return x
        if self.kind in ("poisson", "bernoulli"):
            return self._drawn(parts, x, dt)
        if self.kind == "delta":
            program = programs.rise_from_first if self.padding else programs.rise
            return parts.step("spikes", program, (x,), threshold=self.threshold)
        if self.kind == "rank-order":
            late = parts.step("late", programs.inverse, (x, parts.largest("largest", x)))
            latest = parts.largest("latest", late)
            return parts.step("spikes", programs.rank, (late, latest), time=self.time)
        if self.code == "linear":
            return parts.step("spikes", programs.linear_latency, (x,), time=self.time)
        # Half a step early, so that the time of the threshold is rounded to the nearest step.
        decay = math.exp(-1.0 / self.tau)
        values = {"threshold": self.threshold, "half": math.sqrt(decay), "decay": decay}
        return parts.step("spikes", programs.charging_latency, (x,), time=self.time, **values)

    def _drawn(self, parts: _Parts, x: Value, dt: float | None) -> Value:
        scale = self.rate
        if self.kind == "poisson":
            if dt is None:
                what = "poisson needs a graph with a time step"
                raise error("SNN303", what, node=x.node, hint="encode after discretize")
            scale *= dt
        elif self.normalize:
            x = parts.step("normal", programs.normalise, (x, parts.largest("largest", x)))
        u = parts.add("uniform", Uniform(self.seed), x)
        return parts.step("spikes", programs.draw, (x, u), scale=scale)


@dataclass(frozen=True)
class _Parts:
    """Adds nodes named after an input, of its shape."""

    editor: Editor
    name: str
    shape: tuple[int, ...]

    def add(self, name: str, op: Op, *operands: Value) -> Value:
        return self.editor.add(self.editor.fresh(f"{self.name}.{name}"), op, operands)

    def step(
        self, name: str, program: Dynamics, operands: tuple[Value, ...], **params: float
    ) -> Value:
        tensors = FrozenDict({key: tensor(float(value)) for key, value in params.items()})
        return self.add(name, Step(program, tensors), *operands)

    def largest(self, name: str, x: Value) -> Value:
        """Return the largest element of every sample, in every element."""
        size = math.prod(self.shape)
        row = self.add(f"{name}.row", Reshape((1, 1, size)), x)
        most = self.add(name, MaxPool2d((1, size), (1, size)), row)
        one = self.add(f"{name}.one", Reshape((1,)), most)
        spread = self.add(f"{name}.all", Linear(Tensor(np.ones((size, 1), np.float32))), one)
        return self.add(f"{name}.shaped", Reshape(self.shape), spread)
