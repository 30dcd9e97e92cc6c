"""`snnir.from_bindsnet`: from a live network to a graph."""

from __future__ import annotations

from typing import Any

from snnir.frontends.bindsnet_nets.build import Builder, read_parts
from snnir.frontends.bindsnet_nets.confirm import confirmed
from snnir.frontends.bindsnet_nets.plan import plan_of
from snnir.ir.graph import Graph


def load_bindsnet(network: Any, *, name: str | None = None, **options: Any) -> Graph:
    """Read a network of BindsNET 0.3.4; see `snnir.from_bindsnet`.

    Args:
        network: A `bindsnet.network.Network`; it is left as it was.
        name: Name of the graph; `bindsnet` by default.
        options: Those of `Options`.

    Returns:
        A verified graph.

    Raises:
        SnnirError: SNN801, SNN802, SNN807 for what cannot be read; SNN808 if BindsNET does not do
            here what its source says.
    """
    plan = plan_of(network, **options)
    parts = read_parts(plan)
    graph = Builder(plan, parts).graph(name or "bindsnet")
    return confirmed(plan, parts, graph)
