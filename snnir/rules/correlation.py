"""Learning on a chip with correlation sensors, as BrainScaleS-2 does it."""

from __future__ import annotations

from snnir.dynamics import floor, maximum, minimum, rounded, select
from snnir.dynamics.trace import Symbol
from snnir.errors import error
from snnir.rules.rule import Limits, Rule, Writer
from snnir.tensors import TensorLike


def correlation_rule(
    causal_rate: TensorLike,
    anticausal_rate: TensorLike,
    gain: TensorLike = 1.0,
    bits: int = 6,
    read_bits: int = 8,
    rounding: str = "nearest",
) -> Rule:
    """Return a rule that collects correlations in every synapse and uses them now and then.

    A spike of the neuron adds x_pre to what is causal of a synapse, a spike of the source adds
    x_post to what is anticausal. When `tick` is not 0 both are read as whole numbers,

        read(a) = min(max(floor(gain a), 0), 2**read_bits - 1),

    and start from 0 again, and the weight, a whole number of `bits` bits, becomes

        w + round(causal_rate read(causal) - anticausal_rate read(anticausal))

    between 0 and 2**bits - 1. So learns the plasticity processor of BrainScaleS-2 (C. Pehle et al.,
    The BrainScaleS-2 accelerated neuromorphic system with hybrid plasticity, Frontiers in
    Neuroscience 16, 2022): every synapse has two analog accumulators, read by converters of 8
    bits, and a weight of 6. Samples of a batch round on their own and are added up.

    Args:
        causal_rate: What one unit of the causal reading adds, broadcastable to [post, pre].
        anticausal_rate: What one unit of the anticausal reading takes away.
        gain: Units of the reading per correlation.
        bits: Of the weight.
        read_bits: Of the reading.
        rounding: `nearest`, ties to even; or `stochastic`: up with the probability of the fraction,
            with random numbers (0, 1] `u_pre` of every source and `u_post` of every neuron (op
            `uniform`), of which a synapse takes the fractional part of their sum.

    Raises:
        SnnirError: SNN105 for an unknown rounding or a number of bits that is not from 1 to 16.
    """
    if rounding not in ("nearest", "stochastic"):
        raise error("SNN105", f"rounding '{rounding}' must be nearest or stochastic")
    if not (1 <= bits <= 16 and 1 <= read_bits <= 16):
        raise error("SNN105", f"bits must be from 1 to 16, got {bits} and {read_bits}")
    writer = Writer("correlation_rule")
    scale, most = writer.param("gain", gain), 2.0**read_bits - 1
    tick = writer.input("tick") > 0.0
    causal = writer.state("causal") + writer.input("x_pre") * writer.input("post")
    anticausal = writer.state("anticausal") + writer.input("pre") * writer.input("x_post")
    up = writer.param("causal_rate", causal_rate) * _read(causal, scale, most)
    down = writer.param("anticausal_rate", anticausal_rate) * _read(anticausal, scale, most)
    change = up - down
    whole = rounded(change) if rounding == "nearest" else _stochastic(writer, change)
    writer.update("causal", select(tick, 0.0, causal))
    writer.update("anticausal", select(tick, 0.0, anticausal))
    w = writer.w + writer.over_samples(select(tick, whole, 0.0))
    return writer.rule(w, Limits(0.0, 2.0**bits - 1))


def _read(value: Symbol, gain: Symbol, most: float) -> Symbol:
    return minimum(maximum(floor(value * gain), 0.0), most)


def _stochastic(writer: Writer, x: Symbol) -> Symbol:
    """Round up where a random number is at most the fraction; every sum here is exact."""
    u, other = writer.input("u_pre"), writer.input("u_post")
    rest = 1.0 - other
    u = select(u > rest, u - rest, u + other)
    low = floor(x)
    return low + select(u <= x - low, 1.0, 0.0)
