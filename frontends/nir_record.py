"""The record snnir writes into NIR metadata: what the equations leave open.

Every node may carry one key `snnir`, a JSON object, and the group `snnir.params` with arrays;
other readers ignore both. The root graph's object has `version`, `dt`, `name` and
`record_offset`. A neuron's has `stepping` (continuous) or `step` (its discrete attributes, with
its parameters in `snnir.params`). A node that sums or delays what it reads has `sources` (in
order of summation) and `delays` (steps by source).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from snnir.frontends.nir_hdf5 import RawNode
from snnir.frontends.nir_notes import Notes
from snnir.nir_keys import KEY, PARAMS, VERSION

#: What origins say of what this record gives.
RECORD = "the record in the file"


@dataclass
class FileRecord:
    """The root's part of the record.

    Attributes:
        rules: The decoded object of the root; empty without a record or if overridden.
        present: Whether the file has one.
    """

    rules: dict[str, Any] = field(default_factory=dict)
    present: bool = False
    overridden: bool = False

    @property
    def holds(self) -> bool:
        """Whether the nodes' records are to be followed."""
        return self.present and not self.overridden

    @classmethod
    def of(cls, root: RawNode, notes: Notes) -> FileRecord:
        """Return the record of a file; a damaged or newer one is reported."""
        rules = node_record(root, notes)
        if rules and rules.get("version") != VERSION:
            notes.fail(
                "SNN108",
                f"its snnir record has version {rules.get('version')}, known is {VERSION}",
                hint="use a newer snnir, or override with --semantics",
            )
        return cls(rules, bool(rules))

    def discard(self) -> None:
        """Forget the record but for its dt; the caller's choice holds."""
        kept = ("dt", "nominal_dt")
        self.rules = {key: self.rules[key] for key in kept if key in self.rules}
        self.overridden = True

    @property
    def dt(self) -> float | None:
        """Step length in seconds."""
        value = self.rules.get("dt") or self.rules.get("nominal_dt")
        return float(value) if isinstance(value, (int, float)) else None

    @property
    def is_timeless(self) -> bool:
        """Whether the graph had no dt, so that the file's seconds are nominal."""
        return self.holds and self.rules.get("dt") is None and "nominal_dt" in self.rules

    @property
    def name(self) -> str:
        """Name of the graph."""
        value = self.rules.get("name")
        return value if isinstance(value, str) else ""

    @property
    def record_offset(self) -> int:
        """Steps by which records are late."""
        value = self.rules.get("record_offset", 0)
        return value if isinstance(value, int) else 0


def node_record(raw: RawNode, notes: Notes) -> dict[str, Any]:
    """Return the decoded record of one node, {} if it has none."""
    text = raw.metadata.get(KEY)
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        notes.fail("SNN102", f"its metadata '{KEY}' is not a JSON object", raw.name)
        return {}
    return value


def restore_names(root: RawNode, notes: Notes) -> None:
    """Give nodes the names HDF5 could not hold back, in the root graph."""
    renamed: dict[str, str] = {}
    for key, node in root.nodes.items():
        name = node_record(node, notes).get("name") if KEY in node.metadata else None
        if isinstance(name, str) and name and name not in root.nodes:
            renamed[key] = name
    if len(set(renamed.values())) != len(renamed):
        notes.fail("SNN102", "its snnir record gives two nodes one name")
        return
    if renamed:
        root.nodes = {renamed.get(key, key): node for key, node in root.nodes.items()}
        root.edges = [(renamed.get(a, a), renamed.get(b, b)) for a, b in root.edges]


def user_metadata(raw: RawNode, path: str, notes: Notes) -> dict[str, str | int | float | bool]:
    """Return the scalar metadata others put on a node."""
    kept: dict[str, str | int | float | bool] = {}
    for key, value in raw.metadata.items():
        if key in (KEY, PARAMS):
            continue
        if isinstance(value, str):
            kept[key] = value
        elif getattr(value, "shape", None) == () and value.dtype.kind in "biuf":
            kept[key] = value.item()
        else:
            notes.assume(f"metadata '{key}' is neither a text nor a number and is dropped", path)
    return kept
