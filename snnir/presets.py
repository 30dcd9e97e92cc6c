"""What each platform does with a NIR graph, as its own importer applies it.

snnTorch 1.0.0 (`snntorch/import_nir.py`), Norse 1.1.0 (`norse/torch/utils/import_nir.py`,
`functional/lif_box.py`, `functional/iaf.py`), Sinabs 3.1.3 (`sinabs/nir.py`) and SpikingJelly 2.0.0
(`spikingjelly/activation_based/nir_exchange/from_nir.py`) were run and compared step for step
(`tests/frameworks`); the others are read from the sources they cite. `docs/semantics.md` has the
table.
"""

from __future__ import annotations

from types import MappingProxyType

from snnir.errors import error, shown
from snnir.semantics import Semantics, Stepping
from snnir.suggest import hint

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

_SPIKINGJELLY = Semantics(
    "spikingjelly",
    Stepping(integrator="euler", form="quotient", fire="ge", start="reset"),
    dt=1e-4,
    recurrent_bias="from-step-1",
    source="spikingjelly 2.0.0, activation_based/nir_exchange/from_nir.py",
)

_SPYX = Semantics(
    "spyx",
    Stepping(integrator="euler", input_gain="fold", constants="source", reset="subtract"),
    overrides={
        # LIF and IF subtract the threshold after the decay of the next step; the recurrent
        # CuBaLIF subtracts it before.
        "lif": {"reset_timing": "next-step"},
        "if": {"reset_timing": "next-step", "input_gain": "unit"},
    },
    dt=1.0,
    # Its neurons compare the membrane of the step before, so that spikes come out a step late.
    record_offset=1,
    source="spyx 0.1 (kmheckel/spyx: spyx/nir.py, spyx/nn.py); the NIR paper's recordings",
)

_LAVA = Semantics(
    "lava",
    Stepping(integrator="euler", reset="zero"),
    overrides={
        # The NIR paper reads LIF with Lava processes, where a Dense connection takes a step, and
        # CubaLIF with SLAYER (lava-dl), which computes in fixed point and has no such step.
        "cubalif": {
            "form": "fixed",
            "input_gain": "fold",
            "fire": "ge",
            "record_offset": 0,
        },
        "if": {"input_gain": "unit", "record_offset": 0},
    },
    dt=1e-4,
    recurrent_bias="never",
    record_offset=1,
    source="neuromorphs/NIR: paper/01_lif/_lava_nir.py, paper/03_rnn/lava_rnn.py; lava-dl SLAYER",
)

_SPINNAKER2 = Semantics(
    "spinnaker2",
    Stepping(integrator="euler", input_gain="fold", reset="zero", start="step"),
    overrides={"cubalif": {"record_offset": 1}, "if": {"input_gain": "unit"}},
    dt=1e-4,
    recurrent_bias="constant",
    weights="int8-trunc",
    source="py-spinnaker2 s2_nir.py; neuromorphs/NIR: paper/03_rnn/s2_apply.py",
)

_ROCKPOOL = Semantics(
    "rockpool",
    Stepping(
        integrator="exponential_euler",
        input_gain="euler",
        synapse_order="decay-input",
        fire="ge",
        reset="subtract",
        spikes="multi",
    ),
    dt=1e-3,
    source="rockpool 3.1 LIFTorch; neuromorphs/NIR: paper/01_lif/lif_sim_rockpool.ipynb",
)

_NENGO = Semantics(
    "nengo",
    Stepping(integrator="exponential_euler", reset="zero", clamp="max", v_min="0"),
    overrides={"if": {"input_gain": "unit", "clamp": "none"}},
    dt=1e-3,
    source="neuromorphs/NIR: paper/03_rnn/nir_to_nengo.py",
)

_HXTORCH = Semantics(
    "hxtorch",
    Stepping(
        integrator="euler",
        form="pull",
        synapse_order="late",
        constants="source",
        # Its importer leaves the neurons' refractory time at its default of 1 us, one step.
        refractory=1,
        synapse_jump=True,
        start="leak",
    ),
    dt=1e-6,
    time_unit=1e-3,
    source="hxtorch 3bfc7aa, hxtorch/spiking: utils/from_nir.py, functional; mock=True",
)

_JAXSNN = Semantics(
    "jaxsnn",
    Stepping(synapse_jump=True),
    dt=1e-6,
    time_unit=1e-3,
    source="jaxsnn 5e9bb86, jaxsnn/event: utils/from_nir.py, functional/lif; software",
)

#: What `semantics=` and `--semantics` take, by name.
PRESETS = MappingProxyType(
    {
        p.name: p
        for p in (
            _EXACT, _SNNTORCH, _NORSE, _SINABS, _SPIKINGJELLY, _SPYX, _LAVA, _SPINNAKER2,
            _ROCKPOOL, _NENGO, _HXTORCH, _JAXSNN,
        )
    }
)  # fmt: skip


def preset(name: str) -> Semantics:
    """Return a preset.

    Raises:
        SnnirError: SNN302 if there is no such preset.
    """
    if name in PRESETS:
        return PRESETS[name]
    message = f"there are no semantics called '{shown(name)}'"
    raise error("SNN302", message, hint=hint(name, PRESETS))
