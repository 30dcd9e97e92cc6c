"""Where snnir's record stands in the metadata of a NIR file; reader and writer must agree."""

from __future__ import annotations

#: The JSON object of a node, or of the whole file at the root.
KEY = "snnir"
#: The group with the parameters of a discrete neuron, as arrays.
PARAMS = "snnir.params"
#: Version of the record, in the root's object.
VERSION = 1
