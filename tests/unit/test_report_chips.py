"""Pictures of chips: well-formed, with every layer, neuron and synapse where it was placed."""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import snnir
from snnir.ir import Graph, Value
from snnir.pixels import png
from tests.bss2.nets import feed_forward as bss2_network
from tests.bss2.nets import recurrent as bss2_recurrent
from tests.speck.test_layers import network as speck_network
from tests.xylo.nets import lif, recurrent, two_layers, whole

HOSTILE = "<script>alert('x')</script>&\"\x1b[31m"


def renamed(graph: Graph, old: str, new: str) -> Graph:
    """Return a graph in which a node has another name."""

    def moved(value: Value) -> Value:
        return value._replace(node=new) if value.node == old else value

    nodes = {}
    for name, node in graph.nodes.items():
        name = new if name == old else name  # noqa: PLW2901
        nodes[name] = replace(node, name=name, operands=tuple(map(moved, node.operands)))
    outputs = {name: moved(value) for name, value in graph.outputs.items()}
    return replace(graph, nodes=nodes, outputs=outputs)


def drawing(made: snnir.Compiled) -> ElementTree.Element:
    """Return the first picture as XML; a fault in it raises."""
    text = next(iter(made.pictures.values()))
    assert isinstance(text, str)
    return ElementTree.fromstring(text)


def of_class(root: ElementTree.Element, tag: str, class_: str) -> list[dict[str, str]]:
    return [own.attrib for own in root.iter(tag) if own.get("class") == class_]


def texts(root: ElementTree.Element) -> list[str]:
    return [own.text or "" for own in root.iter("text")]


def pixels(image: ElementTree.Element) -> Any:
    """Read an image back as [height, width, 4]."""
    data = base64.b64decode(image.attrib["href"].partition(",")[2])
    width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
    assert (depth, kind) == (8, 6)
    at, packed = 8, b""
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + size]
        at += size + 12
    lines = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + 4 * width)
    return lines[:, 1:].reshape(height, width, 4)


def test_pixels_with_and_without_opacity() -> None:
    given = np.random.default_rng(0).integers(0, 256, (3, 5, 4))
    root = ElementTree.fromstring(
        f"<image href='data:image/png;base64,{base64.b64encode(png(given)).decode()}'/>"
    )
    np.testing.assert_array_equal(pixels(root), given)
    assert png(given[..., :3])[25] == 2


def test_speck_layers_are_on_their_cores() -> None:
    made: Any = snnir.compile(speck_network(), "speck")
    root = drawing(made)
    assert len(of_class(root, "rect", "core")) == 4
    assert len(of_class(root, "rect", "spare")) == 5
    told = texts(root)
    for name, core in made.plan.placement.cores.items():
        assert told[told.index(name) - 1] == f"core {core}"
    room, used = of_class(root, "rect", "room"), of_class(root, "rect", "used")
    shares = [float(u["width"]) / float(r["width"]) for u, r in zip(used, room, strict=True)]
    expected = []
    for core in made.plan.placement.cores.values():
        needed, there = (
            made.plan.network.cores[core].geometry.words,
            made.plan.network.chip.cores[core],
        )
        expected += [getattr(needed, m) / getattr(there, m) for m in ("kernel", "neuron", "bias")]
    np.testing.assert_allclose(shares, expected, atol=0.006)


def test_speck_routes_lead_from_sender_to_reader() -> None:
    """input -> if1 -> if2 -> if3 -> if4 -> host straight down, and if1 -> if3 past if2."""
    network = speck_network()
    root = drawing(snnir.compile(network, "speck"))
    routes = [path["d"] for path in of_class(root, "path", "route")]
    assert len(routes) == 6
    assert len([d for d in routes if "H" in d]) == 1
    joined: Any = network["c3"].op
    own = np.count_nonzero(joined.weight.numpy()[:, :3])
    assert f"sums 2x2, {own} weights" in texts(root)
    assert any(text.startswith("sums 2x2, ") and "from channel 3" in text for text in texts(root))


def test_bss2_synapses_and_neurons_are_where_they_were_routed() -> None:
    made: Any = snnir.compile(bss2_recurrent(), "bss2")
    root = drawing(made)
    [execution] = made.plan.executions
    drawn = [pixels(image) for image in root.iter("image")]
    assert sum(int((image[..., 3] > 0).sum()) for image in drawn) == len(execution.synapses.row)
    for at in range(len(execution.synapses.row)):
        hemisphere, row, column = (
            int(getattr(execution.synapses, key)[at]) for key in ("hemisphere", "row", "column")
        )
        red, _, blue, opacity = drawn[hemisphere][row, column].tolist()
        assert (red > blue) is (execution.rows[hemisphere, row] > 0)
        assert opacity >= 0.3 * 255
    strips = [own for own in root.iter("rect") if own.get("class", "").startswith("fill k")]
    neurons = [own for own in strips if own.attrib["height"] == "20"]
    circuits = sum(len(site.circuits) for site in execution.sites)
    assert sum(float(own.attrib["width"]) for own in neurons) == pytest.approx(2.6 * circuits)
    assert "lif: 20 neurons" in texts(root)


def test_xylo_weights_are_those_of_the_plan() -> None:
    rng = np.random.default_rng(3)
    first, back, second = whole(rng, 9, 4), whole(rng, 9, 9), whole(rng, 3, 9)
    made: Any = snnir.compile(recurrent(first, back, second, lif(), lif()), "xylo")
    root = drawing(made)
    drawn = [pixels(image)[..., 3] > 0 for image in root.iter("image")]
    weights = made.plan.hidden.weights["inp"], made.plan.hidden.weights["rec"]
    for image, expected in zip(drawn, (*weights, made.plan.readout.weights["out"]), strict=True):
        np.testing.assert_array_equal(image, expected != 0)
    assert any(text.startswith("4 of 16 inputs, 22 of 1000 hidden") for text in texts(root))


def test_names_are_escaped() -> None:
    rng = np.random.default_rng(0)
    xylo = two_layers(whole(rng, 5, 4), whole(rng, 3, 5), lif(), lif())
    for graph, name, target in (
        (speck_network(), "if2", "speck"),
        (bss2_network(4, 6, 3), "n0", "bss2"),
        (xylo, "hidden", "xylo"),
    ):
        made = snnir.compile(renamed(graph, name, HOSTILE), target)
        text = "".join(map(str, made.pictures.values()))
        assert ElementTree.fromstring(text) is not None
        assert "<script" not in text
        assert "\x1b" not in text
        assert "&lt;script&gt;" in text


def test_pages_hold_the_pictures(tmp_path: Any) -> None:
    made = snnir.compile(speck_network(), "speck")
    text = snnir.report(made, tmp_path / "a.html").read_text("utf-8")
    assert text.count("class='chart'") == 1
    assert "Layers on the cores of speck2f" in text
