"""What each platform does with a NIR graph, as its own importer applies it.

snnTorch 1.0.0 (`snntorch/import_nir.py`), Norse 1.1.0 (`norse/torch/utils/import_nir.py`,
`functional/lif_box.py`, `functional/iaf.py`) and Sinabs 3.1.3 (`sinabs/nir.py`) were run and
compared step for step (`tests/frameworks`); the others are read from the sources they cite.
`docs/semantics.md` has the table.
"""

from __future__ import annotations

import difflib
from types import MappingProxyType

from snnir.errors import error
from snnir.semantics import Semantics, Stepping

#: The preset taken where nobody has said anything.
DEFAULT = "exact"

_EXACT = Semantics("exact", Stepping(), source="the equations of NIR, flows solved exactly")

_SNNTORCH = Semantics(
    "snntorch",
    Stepping(
        integrator="euler",
        input_gain="fold",
        constants="source",
        reset="zero",
    ),
    overrides={"if": {"input_gain": "unit", "reset": "subtract", "reset_timing": "net"}},
    dt=1e-4,
    source="snntorch 1.0.0, snntorch/import_nir.py",
)

_NORSE = Semantics(
    "norse",
    Stepping(
        integrator="euler",
        form="difference",
        constants="f32",
        reset="zero",
        start="leak",
        synapse_leak=True,
    ),
    overrides={"if": {"input_gain": "unit"}},
    dt=1e-3,
    recurrent_bias="from-step-1",
    source="norse 1.1.0, norse/torch/utils/import_nir.py",
)

_SINABS = Semantics(
    "sinabs",
    Stepping(
        integrator="exponential_euler",
        input_gain="unit",
        constants="f32",
        fire="ge",
        reset="subtract",
        spikes="multi",
    ),
    overrides={"if": {"clamp": "relu"}},
    dt=1.0,
    source="sinabs 3.1.3, sinabs/nir.py",
)

PRESETS = MappingProxyType({p.name: p for p in (_EXACT, _SNNTORCH, _NORSE, _SINABS)})


def preset(name: str) -> Semantics:
    """Return a preset.

    Raises:
        SnnirError: SNN302 if there is no such preset.
    """
    if name in PRESETS:
        return PRESETS[name]
    close = difflib.get_close_matches(name, PRESETS, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(PRESETS)}"
    raise error("SNN302", f"there are no semantics called '{name}'", hint=hint)
