"""Encoders: numbers to spikes, as nodes of a graph and as arrays."""

from snnir.encoding.host import encode
from snnir.encoding.nodes import KINDS, Encoder

__all__ = ["KINDS", "Encoder", "encode"]
