"""How commands read their MODEL: the options that say how, files, and factories."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

import snnir
from snnir.errors import Diagnostic, error, warn
from snnir.registry import load_plugin
from snnir.suggest import file_hint, hint

F = TypeVar("F", bound=Callable[..., Any])

#: Arguments of `snnir.load` that are not options of semantics.
_NOT_STEPPING = ("path", "repair", "semantics")
#: Options that are for live torch models only.
_TORCH = ("input_shape", "layout")
#: Arguments of `snnir.compile` that are not options of targets.
_NOT_OPTIONS = ("model", "target", "level", "passes")


def _seconds(text: str) -> float:
    """Return the seconds of a unit of time given by name or as a number."""
    try:
        seconds = {"s": 1.0, "ms": 1e-3, "us": 1e-6}.get(text) or float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise click.BadParameter(f"'{text}' is neither s, ms, us nor a positive number")
    return seconds


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
    (
        "--time-unit",
        {
            "type": _seconds,
            "metavar": "UNIT",
            "help": "Of the file's time constants: s, ms, us or a number of seconds.",
        },
    ),
    ("--input-shape", {"metavar": "N,N,…", "help": "Of a torch model: one sample in one step."}),
    ("--layout", {"help": "Of a torch model: TB, BT, B*T, T*B, step or static."}),
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
        reading.update({_stepping_key(key): typed(value) for key, value in stepping.items()})
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


def typed(text: str) -> Any:
    """Return the number or truth that a text says, or the text."""
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


@contextlib.contextmanager
def users_code() -> Iterator[None]:
    """What code of the user's prints is for people: stdout is data."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@users_code()
def load_model(text: str, reading: dict[str, Any]) -> snnir.Graph:
    """Return the graph a MODEL argument names: a file, or `module.py:factory`."""
    path, factory = _factory(text)
    torch_options = {key: reading[key] for key in _TORCH if key in reading}
    reading = {key: value for key, value in reading.items() if key not in _TORCH}
    if not factory:
        if torch_options:
            raise error("SNN701", f"{_flags(torch_options)} is for torch models, not files")
        return snnir.load(text, **reading)
    made = _make(Path(path), factory)
    if isinstance(made, snnir.Graph) or snnir.is_topology_pair(made) or _is_bindsnet(made):
        applied = ("dt",) if snnir.is_topology_pair(made) else ()
        rest = {key: value for key, value in reading.items() if key not in applied}
        unused = [*_flags(torch_options).split(), *_unused(rest)]
    else:
        unused = _unused({key: value for key, value in reading.items() if key != "dt"})
    if unused:
        message = f"the factory's model says how it is stepped; not applied: {', '.join(unused)}"
        warn(Diagnostic("SNN701", message, source=text))
    if isinstance(made, snnir.Graph):
        return made.verify()
    if _is_bindsnet(made):
        return _from_bindsnet(made, reading, factory)
    if snnir.is_topology_pair(made):
        return _from_topology(made, reading, factory)
    if snnir.is_step(made):
        return _from_step(made, reading, factory)
    net, shape = _net_and_shape(made, torch_options, text)
    layout = torch_options.get("layout")
    return snnir.from_torch(net, shape, layout=layout, dt=reading.get("dt"), name=factory)


@users_code()
def load_live(text: str, reading: dict[str, Any]) -> tuple[Any, dict[str, tuple[int, ...]]] | None:
    """Return a factory's live model and the shapes of its inputs, None for any other MODEL."""
    path, factory = _factory(text)
    made = _make(Path(path), factory) if factory else None
    if made is None or isinstance(made, snnir.Graph):
        return None
    if _is_bindsnet(made) or snnir.is_topology_pair(made) or snnir.is_step(made):
        read = _from_step if snnir.is_step(made) else _from_topology
        read = _from_bindsnet if _is_bindsnet(made) else read
        graph = read(made, reading, factory)
        return made, {name: signal.shape for name, signal in graph.inputs.items()}
    net, shape = _net_and_shape(made, reading, text)
    return net, {"input": shape}


def _factory(text: str) -> tuple[str, str]:
    """Split `module.py:factory`; the second part is empty for anything else."""
    path, colon, factory = text.rpartition(":")
    is_factory = colon and path.endswith(".py") and factory.isidentifier()
    return (path, factory) if is_factory else (text, "")


def _flags(options: dict[str, Any]) -> str:
    return " ".join(f"--{key.replace('_', '-')}" for key in options)


def _unused(reading: dict[str, Any]) -> list[str]:
    return _flags({k: v for k, v in reading.items() if k != "repair" or v}).split()


def _net_and_shape(made: Any, options: dict[str, Any], source: str) -> tuple[Any, tuple[int, ...]]:
    """Return a module and the shape of one sample, from the option or the factory's pair."""
    net, shape = made if isinstance(made, tuple) else (made, None)
    given = options.get("input_shape")
    if given is not None:
        try:
            shape = tuple(int(part) for part in str(given).split(",") if part.strip())
        except ValueError:
            message = f"--input-shape '{given}' is not whole numbers with commas"
            raise error("SNN701", message) from None
    if shape is None:
        raise error(
            "SNN701", "a torch model needs the shape of one sample in one step", source=source,
            hint="give --input-shape 1,28,28, or return (net, shape) from the factory",
        )  # fmt: skip
    return net, tuple(shape)


def _from_topology(made: Any, reading: dict[str, Any], name: str) -> snnir.Graph:
    return snnir.from_jax(made[0], params=made[1], dt=reading.get("dt"), name=name)


def _is_bindsnet(made: Any) -> bool:
    return snnir.is_bindsnet(made) or snnir.is_bindsnet_pair(made)


def _from_bindsnet(made: Any, reading: dict[str, Any], name: str) -> snnir.Graph:
    network, options = made if isinstance(made, tuple) else (made, {})
    return snnir.from_bindsnet(network, **{"name": name, **options})


def _from_step(made: Any, reading: dict[str, Any], name: str) -> snnir.Graph:
    options = {"name": name, "dt": reading.get("dt"), **(made[3] if len(made) > 3 else {})}
    return snnir.from_step(*made[:3], **options)


def _make(path: Path, factory: str) -> Any:
    """Call a factory.

    It returns a graph, a torch module, a module and its input shape, a network of BindsNET (and a
    mapping of arguments of `from_bindsnet`), a jaxsnn topology and its parameters, or a step
    function of JAX or torch, its first state and an example of its input (and a mapping of more
    arguments of `from_jax` or `from_export`).
    """
    source = f"{path}:{factory}"
    if not path.is_file():
        raise error("SNN101", "there is no such file", source=str(path), hint=file_hint(path))
    try:
        function = _function(_module(path), factory, source)
        made = function()
    except snnir.SnnirError:
        raise
    except (Exception, SystemExit) as failure:
        reason = f"{type(failure).__name__}: {failure}"
        raise error("SNN101", f"the factory failed: {reason}", source=source) from failure
    net = made[0] if isinstance(made, tuple) and len(made) == 2 else made
    known = isinstance(net, snnir.Graph) or hasattr(net, "named_modules")
    if not known and not snnir.is_topology_pair(made) and not snnir.is_step(made):
        message = (
            f"the factory returned {type(made).__name__}, not a snnir.Graph, a torch module, a "
            "network of BindsNET, "
            "(jaxsnn topology, params) or (step function, state, example)"
        )
        raise error("SNN101", message, source=source)
    return made


def _function(module: Any, name: str, source: str) -> Any:
    """Return a function of a module.

    Raises:
        SnnirError: SNN101 if there is none of this name.
    """
    if not hasattr(module, name):
        own = [
            key
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module.__name__
        ]
        what = f"the file has no function '{name}'"
        raise error("SNN101", what, source=source, hint=hint(name, own, "its functions"))
    return getattr(module, name)


def _module(path: Path) -> Any:
    name = f"snnir_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def target_options(settings: tuple[str, ...], target: str) -> dict[str, str]:
    """Return the options of a target from `KEY=VALUE` texts.

    Raises:
        SnnirError: SNN503 for what is not an option of a target.
    """
    options = pairs(settings, "--set")
    for key in _NOT_OPTIONS:
        if key in options:
            meant = f"--{key} is an option of its own" if key in ("target", "passes") else None
            raise error("SNN503", f"target '{target}' has no option '{key}'", hint=meant)
    return options
