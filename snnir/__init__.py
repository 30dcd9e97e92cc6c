"""snnir: an intermediate-representation compiler for spiking neural networks.

    import snnir
    g = snnir.load("model.nir", semantics="snntorch", dt=1e-4)
    sim = snnir.compile(g, target="numpy")
    r = sim.run(x, record=["lif1"])          # x: [T, B, *shape]

Names are imported when first used, so that importing the package stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "Activity": "snnir.operations",
    "Compiled": "snnir.target",
    "Diagnostic": "snnir.errors",
    "Diff": "snnir.diffing",
    "Dynamics": "snnir.dynamics",
    "Graph": "snnir.ir",
    "Kind": "snnir.streams",
    "LifStep": "snnir.dynamics",
    "MODELS": "snnir.dynamics",
    "Manager": "snnir.pipeline",
    "Node": "snnir.ir",
    "PRESETS": "snnir.presets",
    "Pass": "snnir.pipeline",
    "PassRecord": "snnir.pipeline",
    "Result": "snnir.running",
    "Semantics": "snnir.semantics",
    "Signal": "snnir.streams",
    "SnnirError": "snnir.errors",
    "SnnirWarning": "snnir.errors",
    "Stepping": "snnir.semantics",
    "Target": "snnir.target",
    "Tensor": "snnir.tensors",
    "Value": "snnir.ir",
    "activity": "snnir.operations",
    "all_models": "snnir.dynamics",
    "bindsnet_draws": "snnir.driver",
    "bisect": "snnir.bisecting",
    "check": "snnir.driver",
    "check_page": "snnir.reporting.graph_page",
    "check_picture": "snnir.plotting",
    "compile": "snnir.driver",
    "delayed_linear": "snnir.delayed",
    "diff": "snnir.diffing",
    "encode": "snnir.encoding",
    "explain": "snnir.explaining",
    "flow_model": "snnir.dynamics",
    "export": "snnir.driver",
    "framework_neurons": "snnir.driver",
    "from_bindsnet": "snnir.driver",
    "from_export": "snnir.driver",
    "from_jax": "snnir.driver",
    "from_mlir": "snnir.mlir.text",
    "from_step": "snnir.driver",
    "from_torch": "snnir.driver",
    "is_bindsnet": "snnir.sides",
    "is_bindsnet_pair": "snnir.sides",
    "is_step": "snnir.sides",
    "is_topology_pair": "snnir.sides",
    "LossReport": "snnir.loss_report",
    "load": "snnir.driver",
    "lasting_states": "snnir.lasting",
    "losses": "snnir.driver",
    "meaning_of": "snnir.meaning",
    "membrane": "snnir.plotting",
    "membranes": "snnir.artefact",
    "open_artefact": "snnir.artefact",
    "parse": "snnir.driver",
    "populations": "snnir.artefact",
    "preset": "snnir.presets",
    "raster": "snnir.plotting",
    "read_array": "snnir.running",
    "read_lasting": "snnir.running",
    "register_frontend": "snnir.registry",
    "register_model": "snnir.dynamics",
    "register_pass": "snnir.pipeline",
    "register_target": "snnir.target",
    "replacing": "snnir.artefact",
    "report": "snnir.reporting.graph_page",
    "report_page": "snnir.reporting.graph_page",
    "run": "snnir.driver",
    "run_pipeline": "snnir.pipeline",
    "save": "snnir.driver",
    "schedule": "snnir.scheduling",
    "show_progress": "snnir.progress_bars",
    "semantics_of": "snnir.artefact",
    "support_matrix": "snnir.matrix",
    "tensor": "snnir.tensors",
    "to_jax": "snnir.driver",
    "to_mlir": "snnir.mlir.text",
    "to_nir": "snnir.driver",
    "to_torch": "snnir.driver",
    "train_for": "snnir.driver",
    "update": "snnir.driver",
    "with_calibration": "snnir.pipeline_text",
    "with_lasting": "snnir.lasting",
}

__all__ = [
    "MODELS",
    "PRESETS",
    "Activity",
    "Compiled",
    "Diagnostic",
    "Diff",
    "Dynamics",
    "Graph",
    "Kind",
    "LifStep",
    "LossReport",
    "Manager",
    "Node",
    "Pass",
    "PassRecord",
    "Result",
    "Semantics",
    "Signal",
    "SnnirError",
    "SnnirWarning",
    "Stepping",
    "Target",
    "Tensor",
    "Value",
    "__version__",
    "activity",
    "all_models",
    "bindsnet_draws",
    "bisect",
    "check",
    "check_page",
    "check_picture",
    "compile",
    "delayed_linear",
    "diff",
    "encode",
    "explain",
    "export",
    "flow_model",
    "framework_neurons",
    "from_bindsnet",
    "from_export",
    "from_jax",
    "from_mlir",
    "from_step",
    "from_torch",
    "is_bindsnet",
    "is_bindsnet_pair",
    "is_step",
    "is_topology_pair",
    "lasting_states",
    "load",
    "losses",
    "meaning_of",
    "membrane",
    "membranes",
    "open_artefact",
    "parse",
    "populations",
    "preset",
    "raster",
    "read_array",
    "read_lasting",
    "register_frontend",
    "register_model",
    "register_pass",
    "register_target",
    "replacing",
    "report",
    "report_page",
    "rules",
    "run",
    "run_pipeline",
    "save",
    "schedule",
    "semantics_of",
    "show_progress",
    "support_matrix",
    "tensor",
    "to_jax",
    "to_mlir",
    "to_nir",
    "to_torch",
    "train_for",
    "update",
    "with_calibration",
    "with_lasting",
]

if TYPE_CHECKING:
    from snnir import rules
    from snnir.artefact import membranes, open_artefact, populations, replacing, semantics_of
    from snnir.bisecting import bisect
    from snnir.delayed import delayed_linear
    from snnir.diffing import Diff, diff
    from snnir.driver import (
        bindsnet_draws,
        check,
        compile,
        export,
        from_bindsnet,
        from_export,
        from_jax,
        from_step,
        from_torch,
        load,
        losses,
        parse,
        run,
        save,
        to_jax,
        to_nir,
        to_torch,
        train_for,
        update,
    )
    from snnir.dynamics import MODELS, Dynamics, LifStep, all_models, flow_model, register_model
    from snnir.encoding import encode
    from snnir.errors import Diagnostic, SnnirError, SnnirWarning
    from snnir.explaining import explain
    from snnir.ir import Graph, Node, Value
    from snnir.lasting import lasting_states, with_lasting
    from snnir.loss_report import LossReport
    from snnir.matrix import support_matrix
    from snnir.meaning import meaning_of
    from snnir.mlir.text import from_mlir, to_mlir
    from snnir.operations import Activity, activity
    from snnir.pipeline import Manager, Pass, PassRecord, register_pass, run_pipeline
    from snnir.plotting import check_picture, membrane, raster
    from snnir.presets import PRESETS, preset
    from snnir.progress_bars import show_progress
    from snnir.reporting.graph_page import check_page, report, report_page
    from snnir.running import Result
    from snnir.scheduling import schedule
    from snnir.semantics import Semantics, Stepping
    from snnir.sides import is_bindsnet, is_bindsnet_pair, is_step, is_topology_pair
    from snnir.streams import Kind, Signal
    from snnir.target import Compiled, Target, register_target
    from snnir.tensors import Tensor, tensor


#: Parts that are reached as `snnir.NAME`.
_PARTS = ("rules",)


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return importlib.import_module(f"snnir.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'snnir' has no attribute '{name}'")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
