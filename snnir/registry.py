"""Names to things: frontends, passes and targets, built in or from plug-ins.

Built-ins are a table of ``module:attribute`` strings, so nothing is imported until it is used.
Other packages add theirs through entry points of the same groups; a plug-in file or module adds
its own by the decorators `register_pass` and friends when it is loaded. Two providers of one name
are an error that names both.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from snnir.errors import error, shown
from snnir.suggest import file_hint, hint

F = TypeVar("F", bound=Callable[..., Any])

BUILTIN: dict[str, dict[str, str]] = {
    "passes": {
        "ann2snn": "snnir.passes.ann2snn:Ann2snn",
        "canonicalize": "snnir.passes.canonicalize:Canonicalize",
        "conv-to-linear": "snnir.passes.lower_synapses:ConvToLinear",
        "cse": "snnir.passes.cse:Cse",
        "dead-code": "snnir.passes.dead_code:DeadCode",
        "dead-neurons": "snnir.passes.dead_neurons:DeadNeurons",
        "declare-inputs": "snnir.passes.declare_inputs:DeclareInputs",
        "densify": "snnir.passes.sparsify:Densify",
        "discretize": "snnir.passes.discretize:Discretize",
        "eliminate-reshape": "snnir.passes.eliminate_reshape:EliminateReshape",
        "encode": "snnir.passes.encode:Encode",
        "fold-batchnorm": "snnir.passes.fold_batchnorm:FoldBatchnorm",
        "fold-constants": "snnir.passes.fold_constants:FoldConstants",
        "freeze": "snnir.passes.freeze:Freeze",
        "fuse-linear": "snnir.passes.fuse_linear:FuseLinear",
        "infer": "snnir.passes.infer:Infer",
        "linear-to-conv": "snnir.passes.lower_synapses:LinearToConv",
        "merge-delays": "snnir.passes.merge_delays:MergeDelays",
        "prune": "snnir.passes.prune:Prune",
        "quantize": "snnir.passes.quantize:Quantize",
        "remove-identity": "snnir.passes.remove_identity:RemoveIdentity",
        "sparsify": "snnir.passes.sparsify:Sparsify",
        "verify": "snnir.passes.verify:Verify",
    },
    "targets": {
        "bss2": "snnir.targets.bss2.target:Bss2Target",
        "events": "snnir.targets.events.target:EventsTarget",
        "ipu": "snnir.targets.ipu.target:IpuTarget",
        "jaxsnn": "snnir.targets.jaxsnn_nets.target:JaxsnnTarget",
        "mlir": "snnir.targets.mlir_code.target:MlirTarget",
        "native": "snnir.targets.native.target:NativeTarget",
        "nir": "snnir.targets.nir_file:NirTarget",
        "norse": "snnir.targets.torch_nets.target:NorseTarget",
        "numpy": "snnir.targets.numpy_sim.target:NumpyTarget",
        "sinabs": "snnir.targets.torch_nets.target:SinabsTarget",
        "snnir": "snnir.targets.snnir_file:SnnirTarget",
        "snntorch": "snnir.targets.torch_nets.target:SnntorchTarget",
        "speck": "snnir.targets.speck.target:SpeckTarget",
        "spikingjelly": "snnir.targets.torch_nets.target:SpikingjellyTarget",
        "torch": "snnir.targets.torch_sim.target:TorchTarget",
        "xla": "snnir.targets.xla_sim.target:XlaTarget",
        "xylo": "snnir.targets.xylo.target:XyloTarget",
    },
    "frontends": {
        "bindsnet": "snnir.frontends.bindsnet_nets.load:load_bindsnet",
        "export": "snnir.frontends.step_functions.from_export:load_export",
        "jaxpr": "snnir.frontends.step_functions.load:load_jax",
        "jaxsnn": "snnir.frontends.jaxsnn_nets.load:load_jaxsnn",
        "nir": "snnir.frontends.from_nir:load_nir",
        "snnir": "snnir.ir.file:read_snnir",
        "torch": "snnir.frontends.torch_nets.load:load_torch",
    },
    "live": {
        "bindsnet": "snnir.frontends.bindsnet_nets.live:LiveNetwork",
        "bindsnet-draws": "snnir.frontends.bindsnet_nets.live:record_draws",
        "events": "snnir.targets.events.jax_function:EventFunction",
        "jaxsnn": "snnir.frontends.jaxsnn_nets.live:LiveTopology",
        "export": "snnir.frontends.step_functions.export_live:LiveExport",
        "jaxpr": "snnir.frontends.step_functions.live:LiveStep",
        "neurons": "snnir.frontends.torch_nets.neurons:catalogue",
        "to-torch": "snnir.targets.torch_sim.live:LiveNet",
        "torch": "snnir.frontends.torch_nets.live:LiveModel",
        "update": "snnir.targets.torch_sim.update:update_graph",
    },
    "trainers": {
        "bss2": "snnir.targets.bss2.training.chip_net:ChipNet",
    },
}

#: What an item of a group is called in messages.
KINDS = {
    "passes": "pass", "targets": "target", "frontends": "frontend", "live": "runner",
    "trainers": "trainer",
}  # fmt: skip

_local: dict[str, dict[str, Any]] = {group: {} for group in BUILTIN}


def register(group: str, name: str, item: Any) -> None:
    """Add an item under a name.

    Raises:
        SnnirError: SNN402 if the name is taken by something else.
    """
    known = _local[group].get(name)
    owner = BUILTIN[group].get(name)
    if known is not None and known.__qualname__ != item.__qualname__:
        owner = f"{known.__module__}:{known.__qualname__}"
    if owner is not None:
        rival = f"{item.__module__}:{item.__qualname__}"
        message = f"{group} name '{name}' is taken by {owner}, wanted by {rival}"
        raise error("SNN402", message, hint="rename one of them")
    _local[group][name] = item


def _entry_points(group: str) -> dict[str, Any]:
    from importlib.metadata import entry_points

    found: dict[str, Any] = {}
    for point in entry_points(group=f"snnir.{group}"):
        taken = found.get(point.name) or BUILTIN[group].get(point.name)
        if taken is not None:
            owner = getattr(taken, "value", taken)
            message = f"{group} name '{point.name}' is claimed by {owner} and {point.value}"
            raise error("SNN402", message, hint="uninstall one of the packages")
        found[point.name] = point
    return found


def names(group: str) -> list[str]:
    """Return all names of a group, sorted."""
    return sorted({*BUILTIN[group], *_local[group], *_entry_points(group)})


def lookup(group: str, name: str, code: str) -> Any:
    """Import and return what a name stands for.

    Args:
        group: `passes`, `targets`, `frontends`, `live` (what runs a framework's own model), or
            `trainers` (what trains for a chip).
        name: The name.
        code: Diagnostic code to raise if there is no such name.
    """
    if name in _local[group]:
        return _local[group][name]
    if name in BUILTIN[group]:
        module, _, attribute = BUILTIN[group][name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    points = _entry_points(group)
    if name in points:
        try:
            return points[name].load()
        except Exception as failure:
            raise error(
                "SNN402", f"plug-in {points[name].value} cannot be loaded: {failure}"
            ) from failure
    raise error(
        code, f"there is no {KINDS[group]} called '{shown(name)}'", hint=hint(name, names(group))
    )


def register_frontend(suffix: str) -> Callable[[F], F]:
    """Decorator for plug-ins: let a function read the files with a suffix, written without dot.

    It takes a path, and `dt`, `semantics` and whatever else `load` was given as keywords, and
    returns a graph.
    """

    def define(function: F) -> F:
        register("frontends", suffix, function)
        return function

    return define


def frontend_for(path: Path) -> Callable[..., Any] | None:
    """Return the plug-in that reads files like this one, by their suffix."""
    suffix = path.suffix[1:]
    if not suffix or suffix in BUILTIN["frontends"] or suffix not in names("frontends"):
        return None
    found: Callable[..., Any] = lookup("frontends", suffix, "SNN101")
    return found


def load_plugin(where: str) -> None:
    """Import a plug-in, a Python file or a module name; its decorators register what it has.

    Raises:
        SnnirError: SNN402 if it cannot be imported.
    """
    try:
        if where.endswith(".py"):
            _load_file(Path(where))
        else:
            importlib.import_module(where)
    except Exception as failure:
        meant = file_hint(Path(where)) if where.endswith(".py") else None
        message = f"plug-in '{where}' cannot be loaded: {failure}"
        raise error("SNN402", message, hint=meant) from failure


def _load_file(path: Path) -> None:
    name = f"snnir_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def builtin_table(group: str) -> Mapping[str, str]:
    """Return the built-in names of a group with where they are."""
    return BUILTIN[group]
