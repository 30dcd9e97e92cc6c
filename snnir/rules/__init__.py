"""Plasticity rules and traces of the field, ready to be used in a graph.

Every rule is a function that returns a `Rule` for the values it is given; `Rule.op` makes the
synapses of it and `Rule.node` a node of a graph:

    rule = rules.post_pre(1e-4, 1e-2, limits=rules.Limits(0.0, 1.0))
    node = rule.node("synapses", weights, x, {"pre": x, "x_pre": x_trace, ...})

The arithmetic is that of BindsNET 0.3.4 (Hazan et al., BindsNET, Frontiers in Neuroinformatics 12,
2018), operation by operation.
"""

from snnir.rules.correlation import correlation_rule
from snnir.rules.library import (
    diehl_and_cook,
    hebbian,
    keep,
    mstdp,
    mstdpet,
    post_pre,
    rmax,
    weight_dependent_post_pre,
)
from snnir.rules.rule import READS, Limits, Rule, Writer
from snnir.rules.traces import decay_factor, every, trace

__all__ = [
    "READS",
    "Limits",
    "Rule",
    "Writer",
    "correlation_rule",
    "decay_factor",
    "diehl_and_cook",
    "every",
    "hebbian",
    "keep",
    "mstdp",
    "mstdpet",
    "post_pre",
    "rmax",
    "trace",
    "weight_dependent_post_pre",
]
