"""Synapses whose weights a rule changes while the network runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import ClassVar

from snnir.dynamics.program import Dynamics, State
from snnir.ir.op import Op, Operands, OpError, Results, analog, broadcast, register_op
from snnir.streams import Signal
from snnir.tensors import FrozenDict, Tensor

#: What an input of a rule has one value of: each source, each neuron, or all synapses together.
READS = ("pre", "post", "all")


@register_op
@dataclass(frozen=True)
class Plastic(Op):
    """y = W x with the weights as they are when the step begins; the rule runs when it ends.

    The first operand is x [pre]: what goes through the synapses. The others are the inputs of the
    rule, taken in late, so that they may be what the network makes of y in the same step. The rule
    is a step program of every synapse, over [post, pre], without outputs. Its first lasting state
    is the weight and starts at a parameter [post, pre]. Other states are the synapse's own, per
    sample unless they are lasting too.

    y[i] adds up W[i, j] * x[j] in the order of j, from 0, in the dtype of the arithmetic, every
    product and sum rounded; where x[j] is 0 nothing is added.

    Attributes:
        rule: One step of a synapse.
        params: The rule's parameters, each broadcastable to [post, pre].
        reads: For every input of the rule, what it has one value of: `pre`, `post` or `all`.
        total: If given, what the sizes of the weights of a neuron add up to: when a run ends (a
            call of `run`, not a step) its weights are multiplied by total / sum |W[i, :]|, or by
            total if that sum is 0. Broadcastable to [post].
        sums: The order in which the sizes are added up: `order` of j, or `cascade` as torch does
            (see `snnir.kernels_learning.row_sums`); then total / sum is total * (1 / sum), every
            operation rounded.
    """

    name: ClassVar[str] = "plastic"
    arity: ClassVar[int | None] = None
    rule: Dynamics
    params: FrozenDict[Tensor] = field(default_factory=FrozenDict)
    reads: tuple[str, ...] = ()
    total: Tensor | None = None
    sums: str = "order"

    @property
    def operand_count(self) -> int | None:
        """What goes through, and the inputs of the rule."""
        return 1 + len(self.rule.inputs)

    def late_operands(self, count: int) -> range:
        """The inputs of the rule."""
        return range(1, count)

    @property
    def is_stateless(self) -> bool:
        """Weights change."""
        return False

    @property
    def weight_state(self) -> State:
        """The state that is the weight.

        Raises:
            OpError: SNN201 if the rule has no such.
        """
        state = next((state for state in self.rule.states if state.lasting), None)
        if state is None or not isinstance(state.initial, str):
            raise OpError("SNN201", "its rule needs a lasting state that starts at a parameter")
        return state

    @property
    def weight(self) -> Tensor:
        """The weights at the start, [post, pre]."""
        name = str(self.weight_state.initial)
        if name not in self.params:
            raise OpError("SNN201", f"misses parameter {name}")
        return self.params[name]

    @property
    def shape(self) -> tuple[int, int]:
        """(post, pre)."""
        shape = self.weight.shape
        if len(shape) != 2 or 0 in shape:
            raise OpError("SNN202", f"weights are {list(shape)}, must be [post, pre], not empty")
        return shape[0], shape[1]

    def tensors(self) -> dict[str, Tensor]:
        """Return the parameters of the rule, and the total."""
        return dict(self.params) | ({} if self.total is None else {"total": self.total})

    def infer(self, operands: Operands) -> Results:
        """One current per neuron."""
        post, pre = self.shape
        self._check_rule()
        for name, parameter in self.params.items():
            if broadcast(self.shape, parameter.shape) != self.shape:
                raise OpError(
                    "SNN202",
                    f"parameter {name} {list(parameter.shape)} does not fit the weights "
                    f"{[post, pre]}",
                )
        if self.total is not None and prod(self.total.shape) not in (1, post):
            raise OpError("SNN202", f"total {list(self.total.shape)} does not fit {post} neurons")
        wanted = [pre, *({"pre": pre, "post": post, "all": 1}[read] for read in self.reads)]
        names = ["what goes through", *self.rule.inputs]
        for operand, extent, name in zip(operands, wanted, names, strict=True):
            _want(operand, extent, name)
        return (analog((post,)),)

    def _check_rule(self) -> None:
        rule = self.rule
        names = [name for name, _ in rule.params]
        if sorted(names) != sorted(self.params):
            listed = ", ".join(names)
            raise OpError("SNN201", f"the parameters of its rule are {listed}")
        if "total" in names:
            raise OpError("SNN201", "a parameter of its rule must not be called total")
        if len(self.reads) != len(rule.inputs) or not set(self.reads) <= set(READS):
            raise OpError("SNN201", f"`reads` must name {', '.join(READS)} for every input")
        if rule.outputs:
            raise OpError("SNN201", "its rule must not have outputs")
        if rule.is_whole:
            raise OpError("SNN201", "its rule must compute in floating point")
        if self.sums not in ("order", "cascade"):
            raise OpError("SNN201", f"sums '{self.sums}' must be order or cascade")


def _want(operand: Signal | None, extent: int, name: str) -> None:
    if operand is not None and operand.shape != (extent,):
        raise OpError("SNN202", f"{name} must be [{extent}], got {list(operand.shape)}")
