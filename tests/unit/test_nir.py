"""Every NIR node type in and out, and what a reader has to put up with."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

import snnir
from tests.helpers import (
    dyadic,
    nir_chain,
    nir_file,
    nir_recurrent,
    quiet_load,
    recurrent,
    spikes,
)

ONE = np.ones(4, np.float32)
IMAGE = [2, 6, 6]


def neuron_nodes() -> dict[str, nir.NIRNode]:
    leak, threshold = ONE * 0.25, ONE * 0.75
    tau, syn, r = ONE * 0.01, ONE * 0.005, ONE * 2
    return {
        "I": nir.I(r=r * 50),
        "LI": nir.LI(tau=tau, r=r, v_leak=leak),
        "IF": nir.IF(r=r * 100, v_threshold=threshold, v_reset=leak),
        "LIF": nir.LIF(tau=tau, r=r, v_leak=leak, v_threshold=threshold, v_reset=-leak),
        "CubaLI": nir.CubaLI(tau_syn=syn, tau_mem=tau, r=r, v_leak=leak, w_in=ONE * 3),
        "CubaLIF": nir.CubaLIF(
            tau_syn=syn, tau_mem=tau, r=r, v_leak=leak, v_threshold=threshold, w_in=ONE * 3
        ),
        "Threshold": nir.Threshold(threshold=threshold),
    }


def map_nodes() -> dict[str, tuple[nir.NIRNode, list[int], list[int]]]:
    weight = dyadic((3, 2, 3, 3))
    return {
        "Affine": (nir.Affine(dyadic((5, 4)), dyadic((5,))), [4], [5]),
        "Linear": (nir.Linear(dyadic((5, 4))), [4], [5]),
        "Scale": (nir.Scale(dyadic((4,))), [4], [4]),
        "Delay": (nir.Delay(np.array([0, 1, 2, 3]) * 1e-3), [4], [4]),
        "Conv1d": (nir.Conv1d(9, dyadic((3, 2, 3)), 2, 1, 1, 1, dyadic((3,))), [2, 9], [3, 5]),
        "Conv2d": (nir.Conv2d((6, 6), weight, 1, 1, 1, 1, dyadic((3,))), IMAGE, [3, 6, 6]),
        "Conv2d same": (nir.Conv2d((6, 6), weight, 1, "same", 1, 1, dyadic((3,))), IMAGE,
                        [3, 6, 6]),
        "Conv2d valid": (nir.Conv2d((6, 6), weight, 1, "valid", 1, 1, dyadic((3,))), IMAGE,
                         [3, 4, 4]),
        "SumPool2d": (nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])), IMAGE,
                      [2, 3, 3]),
        "AvgPool2d": (nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])), IMAGE,
                      [2, 3, 3]),
        "Flatten": (nir.Flatten({"input": np.array(IMAGE)}, 0, -1), IMAGE, [72]),
    }  # fmt: skip


def check_round_trip(path: Path, tmp_path: Path, **options: Any) -> snnir.Graph:
    graph = quiet_load(path, dt=1e-3, **options)
    back = tmp_path / "back.nir"
    snnir.save(graph, back)
    nir.read(back)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = snnir.load(back)
    assert again == graph
    x = {name: spikes((9, 2, *s.shape)) for name, s in graph.inputs.items()}
    one, two = snnir.compile(graph).run(x).output, snnir.compile(again).run(x).output
    np.testing.assert_array_equal(one, two)
    assert one.any()
    return graph


@pytest.mark.parametrize("kind", neuron_nodes())
@pytest.mark.parametrize("semantics", ["exact", "norse", "sinabs", "rockpool"])
def test_neurons_round_trip(kind: str, semantics: str, tmp_path: Path) -> None:
    model = nir_chain(nir.Affine(dyadic((4, 3)), ONE), neuron_nodes()[kind], shape=[3], out=[4])
    path = nir_file(tmp_path / "m.nir", model)
    graph = check_round_trip(path, tmp_path, semantics=semantics)
    discrete = snnir.compile(graph).graph
    snnir.save(discrete, tmp_path / "d.nir")
    nir.read(tmp_path / "d.nir")
    assert snnir.load(tmp_path / "d.nir") == discrete


@pytest.mark.parametrize("kind", map_nodes())
def test_maps_round_trip(kind: str, tmp_path: Path) -> None:
    node, shape, out = map_nodes()[kind]
    path = nir_file(tmp_path / "m.nir", nir_chain(node, shape=shape, out=out))
    check_round_trip(path, tmp_path)


def test_nothing_of_nir_is_left_out() -> None:
    from snnir.frontends.nir_nodes import SUPPORTED

    types = {n for n, c in vars(nir).items() if isinstance(c, type) and issubclass(c, nir.NIRNode)}
    assert types - {"NIRNode", "Sequence", "Identity"} <= SUPPORTED


def test_nested_graphs_are_flattened_and_recurrence_is_delayed(tmp_path: Path) -> None:
    lif = neuron_nodes()["LIF"]
    inner = nir.NIRGraph(
        {"in": nir.Input(np.array([4])), "lif": lif, "rec": nir.Linear(dyadic((4, 4))),
         "out": nir.Output(np.array([4]))},
        [("in", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "out")],
    )  # fmt: skip
    model = nir_chain(nir.Affine(dyadic((4, 3)), ONE), inner, shape=[3], out=[4])
    graph = check_round_trip(nir_file(tmp_path / "m.nir", model), tmp_path)
    assert {"n1.lif", "n1.rec", "n1.rec.delay", "n1.lif.sum"} <= set(graph.nodes)
    assert graph.outputs == {"output": ("n1.lif", 0)}


@pytest.mark.parametrize(("when", "delayed"), [("always", "n1.rec.delay"),
                                               ("from-step-1", "n1.lif.delay"),
                                               ("never", "n1.rec.delay")])  # fmt: skip
def test_recurrent_bias(when: str, delayed: str, tmp_path: Path) -> None:
    nodes = {
        "input": nir.Input(np.array([4])), "n1.lif": neuron_nodes()["IF"],
        "n1.rec": nir.Affine(dyadic((4, 4)) * 0, ONE), "output": nir.Output(np.array([4])),
    }  # fmt: skip
    edges = [("input", "n1.lif"), ("n1.lif", "n1.rec"), ("n1.rec", "n1.lif"), ("n1.lif", "output")]
    path = nir_file(tmp_path / "m.nir", nir.NIRGraph(nodes, edges))
    graph = quiet_load(path, dt=1.0, semantics="exact", recurrent_bias=when, input_gain="unit")
    assert delayed in graph.nodes
    result = snnir.compile(graph).run(np.zeros((3, 1, 4)), ["n1.lif:v", "n1.lif"])
    fired = result.output[:, 0, 0].tolist()
    assert fired == {"always": [1, 1, 1], "from-step-1": [0, 1, 1], "never": [0, 0, 0]}[when]


def test_recurrent_delay_option(tmp_path: Path) -> None:
    snnir.save(recurrent(1), tmp_path / "m.nir")
    graph = quiet_load(tmp_path / "m.nir", semantics="norse", recurrent_delay=3)
    assert [n.op.steps for n in graph.nodes.values() if n.op.name == "delay"] == [3]  # type: ignore[attr-defined]


def test_a_delay_may_close_a_cycle(tmp_path: Path) -> None:
    nir_recurrent(tmp_path / "m.nir")
    model = nir.read(tmp_path / "m.nir", type_check=False)
    edges = [*(e for e in model.edges if e != ("rec", "lif")), ("rec", "late"), ("late", "lif")]
    found = [snnir.compile(quiet_load(tmp_path / "m.nir", semantics="snntorch", dt=1e-3))]
    for steps in ([1, 1, 1, 1], [2, 2, 3, 4]):
        nodes = {**model.nodes, "late": nir.Delay(np.array(steps) * 1e-3)}
        path = nir_file(tmp_path / "late.nir", nir.NIRGraph(nodes, edges, type_check=False))
        graph = quiet_load(path, semantics="snntorch", dt=1e-3)
        (delay,) = [node for node in graph.nodes.values() if node.op.name == "delay"]
        assert (delay.name, delay.operands) == ("late", (snnir.Value("rec"),))
        assert delay.op.steps.numpy().tolist() == steps  # type: ignore[attr-defined]
        found.append(snnir.compile(graph))
    implied, one, several = (c.run(spikes((20, 1, 3), 0.9)).output for c in found)
    assert implied.any()
    np.testing.assert_array_equal(one, implied)
    assert (several != implied).any()


def test_delays_must_be_whole_steps(tmp_path: Path) -> None:
    path = nir_file(tmp_path / "m.nir", nir_chain(nir.Delay(ONE * 1.5e-3), shape=[4], out=[4]))
    with pytest.raises(snnir.SnnirError, match="whole number of steps"):
        quiet_load(path, dt=1e-3)
    assert quiet_load(path, dt=5e-4)["n0"].op.steps.numpy().tolist() == [3] * 4  # type: ignore[attr-defined]
    assert quiet_load(path, dt=1e-3, repair=True)


def test_odd_names_survive(tmp_path: Path) -> None:
    graph = recurrent()
    text = str(graph)
    for old, new in (("%fc", '%"../../x"'), ("%rec", '%"a/b"'), ("%sum", '%"lif.sum"')):
        text = text.replace(old, new)
    text = text.replace("%late", '%"a/b.delay"')
    weights = {t.digest: t for t in graph.tensors().values()}
    from snnir.ir.parser import parse_graph

    odd = parse_graph(text, weights)
    snnir.save(odd, tmp_path / "m.nir")
    nir.read(tmp_path / "m.nir")
    assert snnir.load(tmp_path / "m.nir") == odd


def test_user_metadata_survives(tmp_path: Path) -> None:
    model = nir_chain(neuron_nodes()["LIF"], shape=[4], out=[4])
    model.nodes["n0"].metadata = {"note": "kept", "count": 3}
    path = nir_file(tmp_path / "m.nir", model)
    graph = check_round_trip(path, tmp_path)
    assert dict(graph["n0"].metadata) == {"note": "kept", "count": 3}


def test_an_explicit_choice_overrides_the_record(tmp_path: Path) -> None:
    path = nir_file(tmp_path / "m.nir")
    snnir.save(quiet_load(path, semantics="norse", dt=1e-3), tmp_path / "n.nir")
    graph, told = told_by(tmp_path / "n.nir", semantics="exact")
    assert "overridden" in told
    assert graph["n1"].op.stepping.integrator == "exact"  # type: ignore[attr-defined]
    assert graph.dt == 1e-3


def test_the_default_is_named(tmp_path: Path) -> None:
    _, told = told_by(nir_file(tmp_path / "m.nir"))
    assert "took 'exact'" in told
    assert "no dt was given; took 0.0001 s" in told


def told_by(path: Path, **options: Any) -> tuple[snnir.Graph, str]:
    """Load a file; return the graph and all warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph = snnir.load(path, **options)
    return graph, "\n".join(str(w.message) for w in caught)


# ------------------------------------------------------------------ old and sloppy files


def edit(path: Path, change: Any) -> Path:
    with h5py.File(path, "r+") as file:
        change(file["node/nodes"], file)
    return path


def replace_data(group: Any, name: str, value: Any) -> None:
    if name in group:
        del group[name]
    group[name] = value


def test_old_files_load_with_named_warnings(tmp_path: Path) -> None:
    def change(nodes: Any, file: Any) -> None:
        del nodes["n1"]["v_reset"]
        for key in ("tau", "r", "v_leak"):
            replace_data(nodes["n1"], key, np.float32(nodes["n1"][key][0]))  # scalars
        replace_data(nodes["n1"], "v_threshold", np.ones((1, 4), np.float32))  # batch baked in
        replace_data(nodes["input"], "shape", np.array([50, 3]))  # time baked in
        del file["version"]

    path = edit(nir_file(tmp_path / "m.nir"), change)
    graph, told = told_by(path, semantics="norse", dt=1e-3)
    for part in ("no version", "[50]", "leading axes of length 1"):
        assert part in told
    assert graph.signal("n1").shape == (4,)
    assert graph["n1"].op.tensors()["tau"].shape == ()


def test_missing_ports_are_added(tmp_path: Path) -> None:
    def change(nodes: Any, file: Any) -> None:
        del nodes["input"], nodes["output"]
        replace_data(file["node"], "edges", np.array([[b"n0", b"n1"]], object))

    graph = quiet_load(edit(nir_file(tmp_path / "m.nir"), change), semantics="norse")
    assert list(graph.inputs) == ["input_n0"]
    assert graph.signal("input_n0").shape == (3,)
    assert list(graph.outputs) == ["output"]


REPAIRS: dict[str, tuple[Any, str]] = {
    "renamed node": (lambda n, f: n.move("n1", "n1_lif"), "take 'n1_lif'"),
    "only loose node": (lambda n, f: n.move("n1", "zebra"), "take 'zebra'"),
    "output shape": (lambda n, f: replace_data(n["output"], "shape", np.array([9])), "take [4]"),
    "transposed": (
        lambda n, f: replace_data(n["n0"], "weight", np.ones((3, 4), np.float32)), "transpose",
    ),
    "negative tau": (
        lambda n, f: replace_data(n["n1"], "tau", -np.ones(4, np.float32)), "its magnitude",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REPAIRS)
def test_inconsistent_files_are_refused_then_repaired(kind: str, tmp_path: Path) -> None:
    change, repair = REPAIRS[kind]
    path = nir_file(tmp_path / "m.nir")
    if kind == "transposed":  # biases must fit the transposed weights
        edit(path, lambda n, f: replace_data(n["n0"], "bias", np.ones(4, np.float32)))
    edit(path, change)
    with pytest.raises(snnir.SnnirError) as caught:
        quiet_load(path, semantics="norse", dt=1e-3)
    assert "--repair would" in str(caught.value)
    assert repair in str(caught.value)
    graph, told = told_by(path, semantics="norse", dt=1e-3, repair=True)
    assert "repaired" in told
    assert any("repaired" in note for note in graph.provenance.notes)


def external(nodes: Any, file: Any) -> None:
    del nodes["n0"]["weight"]
    nodes["n0"]["weight"] = h5py.ExternalLink("/etc/passwd", "/x")


def soft(nodes: Any, file: Any) -> None:
    del nodes["n0"]["weight"]
    nodes["n0"]["weight"] = h5py.SoftLink("/node/nodes/n0/bias")


def huge(nodes: Any, file: Any) -> None:
    del nodes["n1"]["tau"]
    nodes["n1"].create_dataset("tau", shape=(10**9,), dtype="f4", chunks=(2**16,))


def mismatched(nodes: Any, file: Any) -> None:
    replace_data(nodes["n0"], "weight", np.ones((5, 3), np.float32))
    replace_data(nodes["n0"], "bias", np.ones(5, np.float32))


def huge_input(nodes: Any, file: Any) -> None:
    replace_data(file["node"], "edges", np.array([[b"input", b"n1"], [b"n1", b"output"]], object))
    del nodes["n0"], nodes["output"]["shape"]
    replace_data(nodes["input"], "shape", np.array([10**5, 10**4]))
    for key in ("tau", "r", "v_leak", "v_threshold", "v_reset"):
        replace_data(nodes["n1"], key, np.float32(1.0))


def set_field(node: str, key: str, value: Any) -> Any:
    return lambda nodes, file: replace_data(nodes[node], key, value)


HOSTILE: dict[str, tuple[Any, str, str]] = {
    "external link": (external, "SNN107", "external link"),
    "soft link": (soft, "SNN107", "soft link"),
    "huge dataset": (huge, "SNN107", "declares shape"),
    "huge input": (huge_input, "SNN107", "more than"),
    "no node group": (lambda n, f: f.move("node", "nodes"), "SNN102", "no group 'node'"),
    "no edges": (lambda n, f: f["node"].__delitem__("edges"), "SNN102", "no 'edges'"),
    "no type": (lambda n, f: n["n0"].__delitem__("type"), "SNN102", "no 'type'"),
    "no weight": (lambda n, f: n["n0"].__delitem__("weight"), "SNN102", "no field 'weight'"),
    "unknown type": (set_field("n1", "type", "Magic"), "SNN106", "'Magic'"),
    "type is a number": (set_field("n1", "type", 3), "SNN106", "not a NIR type"),
    "NaN weights": (set_field("n0", "weight", np.full((4, 3), np.nan)), "SNN105", "NaN"),
    "tau 0": (set_field("n1", "tau", np.zeros(4)), "SNN105", "must be positive"),
    "NaN tau": (set_field("n1", "tau", np.full(4, np.nan)), "SNN105", "must be positive"),
    "text tau": (set_field("n1", "tau", "fast"), "SNN102", "must be numeric"),
    "shapes": (mismatched, "SNN104", "parameter tau [4] does not fit its input [5]"),
    "bias": (set_field("n0", "bias", np.ones(7)), "SNN202", "bias [7]"),
    "parameter": (set_field("n1", "tau", np.ones(3)), "SNN104", "parameter tau [3]"),
    "edge to nothing": (
        lambda n, f: replace_data(f["node"], "edges", np.array([[b"input", b"zz"]], object)),
        "SNN103", "'zz'",
    ),
    "edges are numbers": (
        lambda n, f: replace_data(f["node"], "edges", np.ones((2, 2))), "SNN102", "expected a text",
    ),
    "edges of three": (
        lambda n, f: replace_data(f["node"], "edges", np.array([[b"a", b"b", b"c"]], object)),
        "SNN102", "pairs",
    ),
    "10 kB name": (lambda n, f: n.move("n1", "n" * 10_000), "SNN107", "10000 bytes"),
    "bad record": (
        lambda n, f: f["node"].create_group("metadata").create_dataset("snnir", data="{"),
        "SNN102", "JSON",
    ),
    "newer record": (
        lambda n, f: f["node"].create_group("metadata").create_dataset("snnir", data='{"version": 9}'),
        "SNN108", "version 9",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_give_one_line_errors(kind: str, tmp_path: Path) -> None:
    change, code, part = HOSTILE[kind]
    path = edit(nir_file(tmp_path / "m.nir"), change)
    with pytest.raises(snnir.SnnirError) as caught:
        quiet_load(path, semantics="norse", dt=1e-3)
    text = str(caught.value)
    assert f"[{code}" in text
    assert part in text
    assert "m.nir" in text
    assert all(len(line) < 700 for line in text.splitlines())


def test_group_cycles_end(tmp_path: Path) -> None:
    def change(nodes: Any, file: Any) -> None:
        nodes["n0"]["type"][...] = "NIRGraph"
        nodes["n0"]["edges"] = np.array([[b"a", b"b"]], object)
        nodes["n0"]["nodes"] = nodes  # a hard link to its own ancestor

    with pytest.raises(snnir.SnnirError, match="nested deeper"):
        quiet_load(edit(nir_file(tmp_path / "m.nir"), change))


@pytest.mark.parametrize("kept", [4, 100, 900, 3000])
def test_truncated_files(kept: int, tmp_path: Path) -> None:
    path = nir_file(tmp_path / "m.nir")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(snnir.SnnirError, match="SNN101"):
        quiet_load(path)


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bytes_never_crash(seed: int, tmp_path: Path) -> None:
    path = nir_file(tmp_path / "m.nir")
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for place in rng.integers(8, len(data), 6):
        data[place] = rng.integers(256)
    path.write_bytes(data)
    with contextlib.suppress(snnir.SnnirError):
        quiet_load(path, semantics="norse", dt=1e-3)


def test_what_nir_cannot_say_is_refused_at_once(tmp_path: Path) -> None:
    from snnir.ir import Concat, Slice
    from tests.helpers import feed_forward

    editor = feed_forward().edit()
    editor.add("part", Slice(0, 0, 2), ["lif"])
    editor.add("join", Concat(0), ["part", "lif"])
    editor.outputs["output"] = snnir.Value("join")
    path = tmp_path / "m.nir"
    with pytest.raises(snnir.SnnirError) as caught:
        snnir.save(editor.graph(), path)
    assert {d.node for d in caught.value.diagnostics} == {"part", "join"}
    assert not path.exists()


def same(one: Any, two: Any) -> bool:
    """Whether two raw nodes are equal in every bit."""
    if (one.name, one.type, one.edges, list(one.nodes)) != (
        two.name, two.type, two.edges, list(two.nodes),
    ):  # fmt: skip
        return False
    for a, b in ((one.fields, two.fields), (one.metadata, two.metadata)):
        if list(a) != list(b) or not all(str(type(a[k])) == str(type(b[k])) for k in a):
            return False
        for key, value in a.items():
            other = b[key]
            if isinstance(value, np.ndarray):
                if value.dtype != other.dtype or not np.array_equal(value, other):
                    return False
            elif not isinstance(value, dict) and value != other:
                return False
    return all(same(one.nodes[name], two.nodes[name]) for name in one.nodes)


@pytest.mark.parametrize("kind", ["small", "nested", "record"])
def test_both_readers_read_the_same(kind: str, tmp_path: Path) -> None:
    from snnir.frontends.hdf5_classic import ClassicFile
    from snnir.frontends.nir_hdf5 import _Reader, read_raw

    path = nir_file(tmp_path / "m.nir")
    if kind == "record":
        discrete = snnir.compile(quiet_load(path, semantics="norse", dt=1e-3)).graph
        snnir.save(discrete, path)
    elif kind == "nested":
        lif = neuron_nodes()["LIF"]
        inner = nir_chain(lif, shape=[4], out=[4])
        nir_file(path, nir_chain(inner, shape=[4], out=[4]))
    file = ClassicFile(path)
    fast = _Reader(str(path), file).root()  # would raise if it had to fall back
    file.close()
    slow = read_raw(path, classic=False)
    assert same(fast[0], slow[0])
    assert fast[1] == slow[1]


def test_corpus_is_read_alike(corpus: Path) -> None:
    from snnir.frontends.nir_hdf5 import read_raw

    for path in corpus.glob("*.nir"):
        if "no_edges" not in path.name:
            assert same(read_raw(path)[0], read_raw(path, classic=False)[0]), path.name


@pytest.mark.parametrize("options", [{"libver": "latest"}, {"track_order": True}])
def test_newer_layouts_are_read_by_the_library(options: dict[str, Any], tmp_path: Path) -> None:
    path, copy = nir_file(tmp_path / "m.nir"), tmp_path / "n.nir"
    with h5py.File(path) as old, h5py.File(copy, "w", **options) as new:
        for key in old:
            old.copy(old[key], new, key)
    assert quiet_load(copy, semantics="norse") == replace_name(quiet_load(path, semantics="norse"))


def replace_name(graph: snnir.Graph) -> snnir.Graph:
    from dataclasses import replace

    return replace(graph, name="n")


def test_images_without_a_channel_axis(tmp_path: Path) -> None:
    conv, shape, out = map_nodes()["Conv2d"]
    path = nir_file(tmp_path / "m.nir", nir_chain(conv, shape=shape[1:], out=out))
    for drop in (False, True):
        if drop:
            edit(path, lambda n, f: n["n0"].__delitem__("input_shape"))
        graph, told = told_by(path, semantics="norse", dt=1e-3)
        assert "lacks the channel axis of 2" in told
        assert graph.signal("input").shape == (2, 6, 6)


def test_loose_outputs(tmp_path: Path) -> None:
    def add(nodes: Any, file: Any) -> None:
        nodes.copy("output", "spare")

    graph, told = told_by(edit(nir_file(tmp_path / "m.nir"), add), semantics="norse")
    assert "left out (in spare)" in told
    assert list(graph.outputs) == ["output"]

    def cut(nodes: Any, file: Any) -> None:
        replace_data(file["node"], "edges", np.array([[b"input", b"n0"], [b"n0", b"n1"]], object))
        del nodes["spare"]

    with pytest.raises(snnir.SnnirError, match="nothing feeds"):
        quiet_load(edit(tmp_path / "m.nir", cut))
