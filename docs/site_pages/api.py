"""The reference of the Python API: which names are on which page.

The pages hold directives for mkdocstrings, which fills them from signatures and docstrings.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import snnir
from snnir.pipeline import print_option
from snnir.registry import BUILTIN, lookup


@dataclass(frozen=True)
class Topic:
    """A page of the reference.

    Attributes:
        file: Of the page, without suffix.
        title: Of the page.
        text: Below the title.
        names: What it documents, in order; of the module `of`.
        of: The module that readers import the names from.
    """

    file: str
    title: str
    text: str
    names: tuple[str, ...] = ()
    of: str = "snnir"

    def objects(self) -> Iterator[tuple[str, str]]:
        """Give each name as readers write it, and where its definition is."""
        module = importlib.import_module(self.of)
        for name in self.names or sorted(_own(module)):
            yield f"{self.of}.{name}", _definition(module, name)

    def page(self) -> str:
        """Return the page."""
        parts = [f"# {self.title}\n\n{self.text}\n\n"]
        for shown, place in self.objects():
            last = shown.rpartition(".")[2]
            parts.append(
                f"::: {place}\n    options:\n"
                f"      heading: {shown}\n      toc_label: {last}\n\n"
            )  # fmt: skip
        return "".join(parts)


def _own(module: Any) -> Sequence[str]:
    """Return the public names of a module that are not modules themselves."""
    names: Sequence[str] = module.__all__
    return [name for name in names if not inspect.ismodule(getattr(module, name))]


def _definition(module: Any, name: str) -> str:
    """Return the full name under which something is defined."""
    value = getattr(module, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        return f"{value.__module__}.{value.__qualname__}"
    sources = [module, *(importlib.import_module(place) for place in _imports(module, name))]
    return f"{sources[-1].__name__}.{name}"


def _imports(module: Any, name: str) -> list[str]:
    """Return the module that a package has a constant from, if it is not its own."""
    if module is snnir:
        return [] if name not in snnir._PUBLIC else [snnir._PUBLIC[name]]
    for place in _submodules(module):
        if place.__dict__.get(name) is module.__dict__[name] and name in _assigned(place):
            return [place.__name__]
    return []


def _submodules(module: Any) -> list[Any]:
    """Return the modules of a package that are imported."""
    import sys

    prefix = f"{module.__name__}."
    return [value for name, value in sorted(sys.modules.items()) if name.startswith(prefix)]


def _assigned(module: Any) -> set[str]:
    """Return the names that a module assigns itself."""
    import ast

    found = set()
    for statement in ast.parse(inspect.getsource(module)).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


TOPICS = (
    Topic(
        "files",
        "Reading and writing",
        "Graphs from files and texts, and back.",
        ("load", "save", "parse", "to_nir", "to_mlir", "from_mlir"),
    ),
    Topic(
        "live-in",
        "Live models in",
        "Modules, networks and step functions of other frameworks as graphs.",
        (
            "from_torch", "framework_neurons", "from_export", "from_jax", "from_step",
            "from_bindsnet", "bindsnet_draws", "is_step", "is_topology_pair", "is_bindsnet",
            "is_bindsnet_pair",
        ),
    ),
    Topic(
        "live-out",
        "Live models out",
        "Graphs as modules and functions of other frameworks, trained, and back.",
        ("export", "losses", "LossReport", "to_torch", "train_for", "update", "to_jax"),
    ),
    Topic(
        "running",
        "Compiling and running",
        "What `compile` returns and what runs give.",
        (
            "compile", "Compiled", "run", "Result", "open_artefact", "populations", "semantics_of",
            "replacing", "read_array", "read_lasting", "encode", "lasting_states", "with_lasting",
        ),
    ),
    Topic(
        "looking",
        "Looking and comparing",
        "What a model is, what it costs, what would be lost, and where two models part.",
        (
            "check", "diff", "Diff", "activity", "Activity", "bisect", "report", "report_page",
            "raster", "membrane", "check_picture", "schedule", "support_matrix",
        ),
    ),
    Topic(
        "graphs",
        "Graphs",
        "Graphs are immutable; see also [the IR](../ir.md) and [the ops](ops.md).",
        ("Graph", "Node", "Value", "Signal", "Kind", "Tensor", "tensor", "delayed_linear"),
    ),
    Topic(
        "ops",
        "Ops",
        "The nodes of graphs: what each computes, its parameters and its streams.",
        of="snnir.ir",
    ),
    Topic(
        "semantics",
        "Semantics",
        "How continuous models are stepped; see also [the page about them](../semantics.md).",
        ("Semantics", "Stepping", "preset", "PRESETS"),
    ),
    Topic(
        "neurons",
        "Neurons",
        "Models in continuous time and the LIF family, whose attributes are the semantics.",
        ("Dynamics", "LifStep", "MODELS", "all_models", "flow_model", "register_model"),
    ),
    Topic(
        "dynamics",
        "The language of neurons",
        "What step programs are written in; see also [the IR](../ir.md#dynamics-level).",
        of="snnir.dynamics",
    ),
    Topic(
        "rules",
        "Learning rules",
        "Programs of synapses that learn; see also [plasticity](../plasticity.md).",
        of="snnir.rules",
    ),
    Topic(
        "encoding",
        "Encoders",
        "Numbers as spikes; see also [encoders](../encoders.md).",
        of="snnir.encoding",
    ),
    Topic(
        "passes",
        "Running passes",
        "Pipelines and what they leave behind; [all passes](../passes.md) have a page.",
        ("Pass", "run_pipeline", "Manager", "with_calibration"),
    ),
    Topic(
        "plug-ins",
        "Plug-ins",
        "What passes, targets and frontends outside of this repository build upon; models of "
        "neurons are registered by `snnir.register_model`.",
        ("register_pass", "register_target", "Target", "register_frontend"),
    ),
    Topic(
        "errors",
        "Errors",
        "What is raised and warned of; [every code](../errors.md) has a rule.",
        ("SnnirError", "SnnirWarning", "Diagnostic"),
    ),
)  # fmt: skip

#: Public names that are no page's: the version, and a module with a page of its own.
ELSEWHERE = ("__version__", "rules")


def targets_page() -> str:
    """Return the page with the options of every target."""
    parts = [
        "# Options of targets\n\n"
        "Options of `snnir.compile(graph, target, option=value)` and of `--set option=value`.\n\n"
    ]
    for name in sorted(BUILTIN["targets"]):
        target = lookup("targets", name, "SNN402")
        parts.append(
            f"## `{name}`\n\n::: {target.__module__}.{target.__qualname__}\n    options:\n"
            "      show_root_heading: false\n      show_root_toc_entry: false\n"
            "      members: false\n      heading_level: 3\n      show_bases: false\n\n"
        )
        if dataclasses.fields(target):
            parts.append("| option | default |\n| --- | --- |\n")
        for item in dataclasses.fields(target):
            parts.append(f"| `{item.name}` | `{print_option(item.default)}` |\n")
        parts.append("\n")
    return "".join(parts)


def api_pages() -> dict[str, str]:
    """Return the pages of the reference by their place in the site."""
    pages = {f"api/{topic.file}.md": topic.page() for topic in TOPICS}
    return {**pages, "api/targets.md": targets_page()}
