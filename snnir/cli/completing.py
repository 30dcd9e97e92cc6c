"""What words may become: names of targets, passes, options, nodes, and files by their suffix.

A shell asks whenever a person presses a key, so nothing slow is imported: never torch or JAX.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, split_arg_string

from snnir.registry import lookup, names

Completer = Callable[[click.Context, str], Iterable[str]]

MODELS = (".nir", ".snnir", ".snn", ".mlir", ".mlirbc")
ARRAYS = (".npz", ".npy")
#: Larger files are not read to know their nodes, and more entries of a folder are not listed.
_LARGEST, _MOST = 2 << 20, 5000


def attach(command: click.Command) -> None:
    """Let the parameters of a command answer a shell."""
    for param in command.params:
        completer = _OWN.get((command.name, param.name)) or _COMPLETERS.get(param.name or "")
        if completer is not None:
            setattr(param, "shell_complete", partial(_complete, completer))  # noqa: B010


def _complete(
    completer: Completer, ctx: click.Context, incomplete: str
) -> list[CompletionItem[str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = [word for word in completer(ctx, incomplete) if word.startswith(incomplete)]
    except Exception:  # whatever is wrong is said when the command runs
        return []
    return [CompletionItem(word) for word in found]


# --- Files ---------------------------------------------------------------------------------------


def _files(*suffixes: str) -> Completer:
    """Return what completes the names of files with some suffixes, and of folders."""

    def complete(ctx: click.Context, incomplete: str) -> Iterable[str]:
        head, _, begun = incomplete.rpartition("/")
        head += "/" if "/" in incomplete else ""
        with os.scandir(Path(head or ".").expanduser()) as entries:
            for _, entry in zip(range(_MOST), entries, strict=False):
                if entry.name.startswith(begun) and (begun or not entry.name.startswith(".")):
                    if entry.is_dir():
                        yield f"{head}{entry.name}/"
                    elif not suffixes or entry.name.endswith(suffixes):
                        yield f"{head}{entry.name}{':' if entry.name.endswith('.py') else ''}"

    return lambda ctx, incomplete: sorted(complete(ctx, incomplete))


def _models(*others: str) -> Completer:
    """Return what completes models: files, folders, and `module.py:factory`."""
    files = _files(*MODELS, ".py", *others)

    def complete(ctx: click.Context, incomplete: str) -> Iterable[str]:
        path, colon, _ = incomplete.rpartition(":")
        if not colon or not path.endswith(".py"):
            return files(ctx, incomplete)
        return [f"{path}:{name}" for name in factories(Path(path))]

    return complete


def factories(path: Path) -> list[str]:
    """Return the functions of a file that can be called without arguments, without running it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [item.name for item in functions if _takes_nothing(item.args)]


def _takes_nothing(arguments: ast.arguments) -> bool:
    positional = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
    return positional == 0 and None not in arguments.kw_defaults


# --- Names ---------------------------------------------------------------------------------------


def _targets(ctx: click.Context, incomplete: str) -> Iterable[str]:
    return names("targets")


def _passes(ctx: click.Context, incomplete: str) -> Iterable[str]:
    return ["all", *names("passes")]


def _pipeline(ctx: click.Context, incomplete: str) -> Iterable[str]:
    """Complete the last pass of a pipeline, or the last option of that."""
    before, name = _last(incomplete)
    head, brace, begun = name.partition("{")
    if not brace:
        return [f"{before}{item}" for item in names("passes")]
    given = begun.rpartition(",")[0] + ("," if "," in begun else "")
    options = [item.name.replace("_", "-") for item in fields(lookup("passes", head, "SNN401"))]
    return [f"{before}{head}{{{given}{item}=" for item in options]


def _last(pipeline: str) -> tuple[str, str]:
    """Split a pipeline after its last comma that is outside of braces."""
    depth, at = 0, 0
    for index, letter in enumerate(pipeline):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            at = index + 1
    return pipeline[:at], pipeline[at:]


def _settings(ctx: click.Context, incomplete: str) -> Iterable[str]:
    """Complete the options of the target that was chosen."""
    name = ctx.params.get("target") or ctx.params.get("form") or "numpy"
    return _fields(lookup("targets", name, "SNN503"), incomplete)


def _fields(cls: Any, incomplete: str) -> list[str]:
    found = []
    for item in fields(cls):
        key = item.name.replace("_", "-")
        choices = ("true", "false") if isinstance(item.default, bool) else ()
        if choices and incomplete.startswith(f"{key}="):
            found += [f"{key}={choice}" for choice in choices]
        else:
            found.append(f"{key}=")
    return found


def _encoder_settings(ctx: click.Context, incomplete: str) -> Iterable[str]:
    from snnir.encoding.nodes import Encoder

    return _fields(Encoder, incomplete)


def _encoders(ctx: click.Context, incomplete: str) -> Iterable[str]:
    from snnir.encoding.nodes import KINDS

    return KINDS


def _semantics(ctx: click.Context, incomplete: str) -> Iterable[str]:
    from snnir.presets import PRESETS

    return PRESETS


def _codes(ctx: click.Context, incomplete: str) -> Iterable[str]:
    from snnir.errors import CODES

    return CODES


def _stepping(ctx: click.Context, incomplete: str) -> Iterable[str]:
    from snnir.semantics import Stepping

    key, equals, _ = incomplete.partition("=")
    choices = Stepping.CHOICES.get(key.replace("-", "_"))
    if equals and choices:
        return [f"{key}={choice}" for choice in choices]
    return _fields(Stepping, incomplete)


def _choices(of: str) -> Completer:
    def complete(ctx: click.Context, incomplete: str) -> Iterable[str]:
        from snnir.semantics import Semantics, Stepping

        return {**Semantics.CHOICES, **Stepping.CHOICES}[of]

    return complete


def _nodes(ctx: click.Context, incomplete: str) -> Iterable[str]:
    """Complete names to record, after the last comma, of a file that is read quickly."""
    before = incomplete[: incomplete.rfind(",") + 1]
    # Not from the context: click reads no arguments if the last option has no value yet.
    words = split_arg_string(os.environ["COMP_LINE"])[2:]
    known = (name for word in words[:-1] or words for name in _recordable(Path(word)))
    return [f"{before}{name}" for name in ["all", *known]]


def _recordable(path: Path) -> list[str]:
    import snnir

    if path.is_dir():
        return list(snnir.open_artefact(path).manifest["populations"])
    if path.suffix not in MODELS or not path.is_file() or path.stat().st_size > _LARGEST:
        return []
    return list(snnir.load(path).nodes)


_COMPLETERS: dict[str, Completer] = {
    "model": _models(), "a": _models(*ARRAYS), "b": _models(*ARRAYS), "data": _files(*ARRAYS),
    "given": _files(*ARRAYS), "calibrate": _files(*ARRAYS), "activity": _files(*ARRAYS),
    "lasting": _files(".npz"), "output": _files(), "plot": _files(".png", ".svg", ".pdf"),
    "loss_report": _files(".json"), "plugin": _files(".py"),
    "code": _codes, "target": _targets, "passes": _pipeline,
    "print_before": _passes, "print_after": _passes,
    "settings": _settings, "kind": _encoders, "record": _nodes,
    "semantics": _semantics, "stepping": _stepping,
    "integrator": _choices("integrator"), "reset": _choices("reset"),
    "reset_timing": _choices("reset_timing"), "compare": _choices("fire"),
    "recurrent_bias": _choices("recurrent_bias"), "weights": _choices("weights"),
}  # fmt: skip
#: What a parameter takes that has another meaning with one command.
_OWN: dict[tuple[str | None, str | None], Completer] = {
    ("encode", "settings"): _encoder_settings,
    ("run", "settings"): lambda ctx, incomplete: [],
    ("encode", "output"): _files(*ARRAYS), ("run", "output"): _files(".npz"),
}  # fmt: skip
