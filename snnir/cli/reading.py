"""How commands read their MODEL: the options that say how, files, and factories."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

import snnir
from snnir.errors import Diagnostic, error, warn
from snnir.registry import load_plugin

F = TypeVar("F", bound=Callable[..., Any])

#: Arguments of `snnir.load` that are not options of semantics.
_NOT_STEPPING = ("path", "repair", "semantics")

_MODEL_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("--semantics", {"help": "How the file's platform steps it; see `snnir list semantics`."}),
    ("--dt", {"type": float, "help": "Seconds per step."}),
    ("--integrator", {"help": "euler, exponential_euler, exact or semi_implicit."}),
    ("--reset", {"help": "to, zero, subtract or none."}),
    ("--reset-timing", {"help": "same-step, next-step, next-step-before-decay or net."}),
    ("--compare", {"help": "gt (v > threshold) or ge."}),
    ("--recurrent-delay", {"type": int, "help": "Steps on recurrent edges."}),
    ("--recurrent-bias", {"help": "always, from-step-1, never or constant."}),
    ("--record-offset", {"type": int, "help": "Steps by which outputs and records are late."}),
    ("--weights", {"help": "float or int8-trunc."}),
    ("--time-unit", {"type": float, "help": "Seconds per unit of the file's time constants."}),
]


def model_options(function: F) -> F:
    """Decorator: add the options that say how a model is read."""

    @functools.wraps(function)
    def wrapped(**given: Any) -> Any:
        for plugin in given.pop("plugin"):
            load_plugin(plugin)
        options = {
            name: given.pop(name)
            for name in [flag[2:].replace("-", "_") for flag, _ in _MODEL_OPTIONS]
        }
        stepping = pairs(given.pop("stepping"), "--stepping")
        reading = {key: value for key, value in options.items() if value is not None}
        reading.update({_stepping_key(key): _typed(value) for key, value in stepping.items()})
        reading["repair"] = given.pop("repair")
        return function(reading=reading, **given)

    for flag, settings in reversed(_MODEL_OPTIONS):
        wrapped = click.option(flag, **settings)(wrapped)
    wrapped = click.option(
        "--stepping", multiple=True, metavar="KEY=VALUE", help="Any other attribute of semantics."
    )(wrapped)
    wrapped = click.option("--repair", is_flag=True, help="Repair inconsistent files.")(wrapped)
    wrapped = click.option("--plugin", multiple=True, help="File or module that adds passes …")(
        wrapped
    )
    return wrapped  # type: ignore[return-value]


def _stepping_key(text: str) -> str:
    key = text.replace("-", "_")
    if key in _NOT_STEPPING:
        raise error("SNN701", f"--stepping cannot set '{text}'", hint="it is no stepping option")
    return key


def _typed(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def pairs(items: Sequence[str], flag: str) -> dict[str, str]:
    """Return KEY=VALUE texts as a mapping.

    Raises:
        SnnirError: SNN701 for a text without '='.
    """
    found: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise error("SNN701", f"{flag} '{item}' is not KEY=VALUE")
        found[key] = value
    return found


def load_model(text: str, reading: dict[str, Any]) -> snnir.Graph:
    """Return the graph a MODEL argument names: a file, or `module.py:factory`."""
    path, colon, factory = text.rpartition(":")
    if not (colon and path.endswith(".py") and factory.isidentifier()):
        return snnir.load(text, **reading)
    unused = [
        f"--{key.replace('_', '-')}" for key, value in reading.items() if key != "repair" or value
    ]
    if unused:
        message = f"the factory's graph says how it is stepped; not applied: {', '.join(unused)}"
        warn(Diagnostic("SNN701", message, source=text))
    return _from_factory(Path(path), factory)


def _from_factory(path: Path, factory: str) -> snnir.Graph:
    source = f"{path}:{factory}"
    try:
        # What the user's code prints is for people: stdout is data.
        with contextlib.redirect_stdout(sys.stderr):
            graph = getattr(_module(path), factory)()
    except snnir.SnnirError:
        raise
    except (Exception, SystemExit) as failure:
        reason = f"{type(failure).__name__}: {failure}"
        raise error("SNN101", f"the factory failed: {reason}", source=source) from failure
    if not isinstance(graph, snnir.Graph):
        message = f"the factory returned {type(graph).__name__}, not a snnir.Graph"
        raise error("SNN101", message, source=source)
    return graph.verify()


def _module(path: Path) -> Any:
    name = f"snnir_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
