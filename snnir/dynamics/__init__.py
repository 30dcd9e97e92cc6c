"""The dynamics level: scalar step programs, continuous models and the LIF family."""

from snnir.dynamics.functions import (
    batch_sum,
    exp,
    floor,
    fma,
    log,
    maximum,
    minimum,
    rounded,
    select,
    sqrt,
    tanh,
    trunc,
)
from snnir.dynamics.lif import LifStep
from snnir.dynamics.models import (
    MODELS,
    Filter,
    Model,
    all_models,
    find_model,
    flow_model,
    register_model,
)
from snnir.dynamics.program import Dynamics, Let, State
from snnir.dynamics.trace import dynamics

__all__ = [
    "MODELS",
    "Dynamics",
    "Filter",
    "Let",
    "LifStep",
    "Model",
    "State",
    "all_models",
    "batch_sum",
    "dynamics",
    "exp",
    "find_model",
    "floor",
    "flow_model",
    "fma",
    "log",
    "maximum",
    "minimum",
    "register_model",
    "rounded",
    "select",
    "sqrt",
    "tanh",
    "trunc",
]  # fmt: skip
