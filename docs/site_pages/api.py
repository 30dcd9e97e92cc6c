"""The reference of the Python API: which names are on which page.

The pages hold directives for mkdocstrings, which fills them from signatures and docstrings.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from site_pages.options import option_table, summary
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
        for name in self.names or _own(module):
            yield name, _definition(module, name)

    def page(self) -> str:
        """Return the page."""
        parts = [f"# {self.title}\n\n{self.text}\n\n"]
        for name, place in self.objects():
            described = constant(place) or (
                f"::: {place}\n    options:\n      heading: {self.of}.{name}\n"
                f"      toc_label: {name}\n"
            )
            parts.append(f"{described}\n")
        return "".join(parts)


def _own(module: Any) -> list[str]:
    """Return the public names of a module that have no other page."""
    elsewhere = {place for topic in TOPICS if topic.names for _, place in topic.objects()}
    return [name for name in module.__all__ if _definition(module, name) not in elsewhere]


def _definition(module: Any, name: str) -> str:
    """Return the full name under which something is defined."""
    value = getattr(module, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        return f"{value.__module__}.{value.__qualname__}"
    inside = (other for path, other in sorted(sys.modules.items()) if path.startswith("snnir."))
    same = (other for other in inside if other.__dict__.get(name) is value)
    return next(f"{other.__name__}.{name}" for other in same if comment(other, name) is not None)


def constant(place: str) -> str:
    """Return the description of a constant from the comment above it; nothing for other names."""
    home, _, name = place.rpartition(".")
    text = comment(importlib.import_module(home), name)
    return "" if text is None else f"## `{name}` {{ #{place} }}\n\n{text}\n"


def comment(module: Any, name: str) -> str | None:
    """Return the `#:` comment above the assignment of a constant, None if it assigns none."""
    lines = inspect.getsource(module).splitlines()
    start = re.compile(rf"{name}(: .+)? = ")
    at = next((number for number, line in enumerate(lines) if start.match(line)), None)
    if at is None:
        return None
    above: list[str] = []
    while lines[at - 1 - len(above)].startswith("#: "):
        above.insert(0, lines[at - 1 - len(above)][3:])
    return "\n".join(above)


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
            "compile", "Compiled", "run", "Result", "open_artefact", "populations",
            "membranes", "semantics_of",
            "replacing", "read_array", "read_lasting", "encode", "lasting_states", "with_lasting",
        ),
    ),
    Topic(
        "looking",
        "Looking and comparing",
        "What a model is, what it costs, what would be lost, and where two models part.",
        (
            "check", "diff", "Diff", "meaning_of",
            "activity", "Activity", "bisect", "report", "report_page",
            "check_page", "raster", "membrane", "check_picture", "schedule", "support_matrix",
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
        ("Pass", "run_pipeline", "Manager", "PassRecord", "with_calibration"),
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
        "Errors and messages",
        "What is raised, warned of and shown; [every code](../errors.md) has a rule.",
        ("SnnirError", "SnnirWarning", "Diagnostic", "explain", "show_progress"),
    ),
)  # fmt: skip

#: Public names that are no page's: the version, and a module with a page of its own.
ELSEWHERE = ("__version__", "rules")


def targets_page() -> str:
    """Return the page with the options of every target."""
    parts = [
        "# Options of targets\n\nOptions of `--set option=value`, and of "
        "`snnir.compile(graph, target, option=value)` with `_` for `-`.\n\n"
    ]
    for name in sorted(BUILTIN["targets"]):
        target = lookup("targets", name, "SNN402")
        parts.append(f"## `{name}`\n\n{summary(target)}\n\n{option_table(target)}\n")
    return "".join(parts)


def api_pages() -> dict[str, str]:
    """Return the pages of the reference by their place in the site."""
    pages = {f"api/{topic.file}.md": topic.page() for topic in TOPICS}
    return {**pages, "api/targets.md": targets_page()}
