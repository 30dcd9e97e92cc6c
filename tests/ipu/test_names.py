"""Every name of Poplar that is used was read in Graphcore's public sources."""

from __future__ import annotations

import json
import re
import warnings
from functools import cache
from importlib.resources import files

import pytest

import snnir
from snnir.ir import Graph
from tests.helpers import recurrent
from tests.targets import neuron_graph, scalar_steps, tangled

OWN = files("snnir.targets.ipu")


@cache
def known() -> dict[str, dict[str, object]]:
    rows = json.loads(OWN.joinpath("names.json").read_text("utf-8"))
    return {row["name"]: row for row in rows}


@cache
def members() -> set[str]:
    return {name.rsplit("::", 1)[1] for name in known() if "::" in name}


@cache
def sources() -> dict[str, str]:
    """The C++ of networks that use every scalar operation and every form of field."""
    steps, x, _ = scalar_steps()
    graphs: dict[str, Graph] = {
        "scalars": neuron_graph(list(steps.values()), x.shape[2:]),
        "recurrent": recurrent(),
        "tangled": tangled(),
    }
    found = {}
    for name, graph in graphs.items():
        for precision in ("float32", "half"):
            with warnings.catch_warnings():  # some of these have no form in PopTorch
                warnings.simplefilter("ignore", snnir.SnnirWarning)
                made = snnir.compile(graph, "ipu", precision=precision, level=0)
            for file in ("host.cpp", "codelets.cpp", "network.hpp", "network.cpp"):
                content = made.files[file]
                assert isinstance(content, bytes)
                found[f"{name} {precision} {file}"] = without_comments(content.decode())
    return found


def without_comments(text: str) -> str:
    return re.sub(r"//[^\n]*", "", text)


def test_the_table_says_where() -> None:
    for name, row in known().items():
        assert re.fullmatch(r"[\w-]+/[\w.-]+", str(row["repo"])), name
        assert str(row["repo"]).split("/")[0] in ("graphcore", "graphcore-research"), name
        assert row["path"], name
        assert int(str(row["line"])) > 0, name


def test_qualified_names_and_headers() -> None:
    used = set()
    for text in sources().values():
        used |= set(re.findall(r"poplar(?:::\w+)+", text))
        used |= set(re.findall(r"#include (<poplar/.*>)", text))
    assert "poplar::VectorLayout::ONE_PTR" in used  # the search finds something
    assert "<poplar/Vertex.hpp>" in used
    assert sorted(name for name in used if name not in known()) == []


#: What a host program calls that is its own or the standard library's.
OWN_METHODS = {
    "push_back", "insert", "back", "begin", "end", "size", "data", "c_str", "emplace_back",
    "assign", "step",
    "part", "of", "at", "stream", "field", "state", "image", "send", "level", "execute", "connect",
    "set", "input", "output", "record", "count", "run", "starts_at_zero", "feed", "take",
    "is_wanted",
}  # fmt: skip


def test_methods() -> None:
    used = set()
    for text in sources().values():
        used |= set(re.findall(r"(?:\.|->)([A-Za-z]\w*)\(", text))
    assert {"addVariable", "setTileMapping", "connectStreamToCallback"} <= used
    assert sorted(name for name in used - OWN_METHODS if name not in members()) == []


#: Variables of a host program, and the class of Poplar that each is of.
RECEIVERS = {
    "graph": "Graph", "engine": "Engine", "device": "Device", "manager": "DeviceManager",
    "tensor": "Tensor", "rows": "Tensor", "step_": "program::Sequence",
    "load_": "program::Sequence", "reset_": "program::Sequence", "when": "program::Sequence",
}  # fmt: skip


def test_methods_belong_to_their_class() -> None:
    calls = set()
    for text in sources().values():
        for variable, owner in RECEIVERS.items():
            for name in re.findall(rf"\b{variable}\.(\w+)\(", text):
                calls.add(f"poplar::{owner}::{name}")
    assert len(calls) > 20
    assert sorted(name for name in calls if name not in known()) == []


#: Functions of the C++ standard library that a host program, which runs on the host, may call;
#: codelets run on tiles, where every function has to be known.
KEYWORDS = {"if", "for", "while", "return", "sizeof", "compute"}


def test_functions_of_codelets() -> None:
    used = set()
    for name, text in sources().items():
        if name.endswith("codelets.cpp"):
            own = set(re.findall(r"\b(snn_\w+)\((?:float|uint64_t) a", text))
            body = re.sub(r"#pragma[^\n]*", "", text)
            used |= set(re.findall(r"\b([A-Za-z_]\w*)\(", body)) - own - KEYWORDS
    assert {"expf", "sqrtf", "rintf", "__builtin_clz"} <= used
    assert sorted(name for name in used if name not in known()) == []


def test_the_stand_in_has_nothing_else() -> None:
    """What could be called by accident does not exist in the stand-in either."""
    header = OWN.joinpath("standin", "poplar_standin.hpp").read_text("utf-8")
    public = header[header.index("namespace poplar {") :]
    classes = set(re.findall(r"\bclass (\w+)", public)) - {
        "FieldRef",
        "Program",
        "OptionFlags",
        "T",
    }
    words = {word for name in known() for word in name.split("::")}
    assert sorted(classes - words) == []


@pytest.mark.parametrize("name", ["poplar::Graph::addVariable", "poplar::setStochasticRounding"])
def test_the_table_has_what_matters(name: str) -> None:
    assert name in known()
