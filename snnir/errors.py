"""Diagnostics: every failure a user can cause is a `Diagnostic`, never a traceback.

A diagnostic prints on one line as ``error[SNN101]: what, where, why; what to do``. Errors are
collected and raised together as one `SnnirError`; warnings go through `warnings.warn`, so a
caller can filter, record or escalate them in the usual way.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

#: Every code, with the rule it stands for. `docs/errors.md` is generated from this table.
CODES: dict[str, str] = {
    "SNN101": "the file cannot be read as the format it claims to be",
    "SNN102": "the file breaks the layout of its format",
    "SNN103": "an edge names a node that is not there",
    "SNN104": "a declared shape contradicts the inferred one",
    "SNN105": "a parameter has a value no model can have",
    "SNN106": "a node type is unknown or not supported",
    "SNN107": "a file asks for something unsafe (external link, huge shape)",
    "SNN108": "the file was made by a version this one cannot read",
    "SNN109": "a repair or assumption was applied while reading",
    "SNN201": "the graph is not well formed",
    "SNN202": "operand shapes do not fit the op",
    "SNN203": "operand kinds do not fit the op",
    "SNN204": "a cycle has no delay",
    "SNN205": "a weight is named but its data is not at hand",
    "SNN301": "the stepping of a model is not determined",
    "SNN302": "an unknown semantics, integrator or reset was named",
    "SNN303": "the time step does not fit the model",
    "SNN401": "a pass or pipeline is wrong",
    "SNN402": "a name is registered twice, or a plug-in cannot be loaded",
    "SNN403": "a graph cannot be quantised",
    "SNN404": "a pass takes long",
    "SNN405": "a network cannot be made spiking",
    "SNN501": "the target cannot express this graph",
    "SNN502": "the artefact folder is damaged or not an artefact",
    "SNN503": "an option of the target is unknown or wrong",
    "SNN504": "the program does not fit the memory of the device",
    "SNN601": "the input does not fit the model",
    "SNN602": "a node asked for does not exist",
    "SNN603": "a run was given up",
    "SNN701": "a command-line argument is wrong",
    "SNN702": "an output cannot be written",
    "SNN801": "a live model cannot be run as asked",
    "SNN802": "a layer or neuron of a live model is not supported",
    "SNN803": "a function between the layers of a live model has no op",
    "SNN804": "a live model's course depends on its data",
    "SNN805": "a live model does not do the same in every step",
    "SNN806": "a live model is not deterministic",
    "SNN807": "a live model's weights have a type or place that cannot be used",
    "SNN808": "the recovered graph does not do what the live model did",
}

_SHOWN = 60


def shown(name: str, limit: int = _SHOWN) -> str:
    """Make an untrusted name safe and short enough to print on one line."""
    if len(name) <= limit and name.isprintable():
        return name
    printable = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in name[: limit + 1])
    return printable if len(name) <= limit else f"{printable[:limit]}... ({len(name)} characters)"


@dataclass(frozen=True)
class Diagnostic:
    """One finding.

    Attributes:
        code: Key of `CODES`.
        message: What is wrong, with both values where two disagree.
        node: Path of the node it concerns, if any.
        source: File or folder it was found in, if any.
        hint: What the user can do about it.
    """

    code: str
    message: str
    node: str | None = None
    source: str | None = None
    hint: str | None = None

    def render(self, severity: str = "error") -> str:
        """Return the one-line form."""
        where = f"{shown(self.source, 300)}: " if self.source else ""
        node = f"node '{shown(self.node)}': " if self.node is not None else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{severity}[{self.code}]: {where}{node}{self.message}{hint}"

    def to_json(self) -> dict[str, str | None]:
        """Return a JSON-ready mapping of all fields."""
        return {
            "code": self.code,
            "message": self.message,
            "node": self.node,
            "source": self.source,
            "hint": self.hint,
        }

    def __str__(self) -> str:
        return self.render()


class SnnirError(Exception):
    """One or more diagnostics that stop the work.

    Attributes:
        diagnostics: Everything found, in a stable order.
    """

    def __init__(self, diagnostics: Diagnostic | Iterable[Diagnostic]) -> None:
        found = (diagnostics,) if isinstance(diagnostics, Diagnostic) else tuple(diagnostics)
        self.diagnostics = found
        super().__init__("\n".join(d.render() for d in found))


class SnnirWarning(UserWarning):
    """A named assumption or repair; carries its `Diagnostic` as `.diagnostic`."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic
        super().__init__(diagnostic.render("warning"))


def error(
    code: str,
    message: str,
    *,
    node: str | None = None,
    source: str | None = None,
    hint: str | None = None,
) -> SnnirError:
    """Build the exception of a single diagnostic, ready to be raised."""
    return SnnirError(Diagnostic(code, message, node=node, source=source, hint=hint))


def warn(diagnostic: Diagnostic, stacklevel: int = 2) -> None:
    """Emit a diagnostic as a Python warning."""
    warnings.warn(SnnirWarning(diagnostic), stacklevel=stacklevel + 1)
