"""The partitioner: plans hold what their page says, fit, and do what they say in the emulator."""

from __future__ import annotations

import json
import time
import tracemalloc
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snnir
from snnir.ir import Concat, Graph, Input, Linear, Signal, Step, SumPool2d, Value
from snnir.streams import Kind
from snnir.targets.ipu.assignment import Rules, assign
from snnir.targets.ipu.cost import level_costs, step_cycles
from snnir.targets.ipu.machine import Machine
from snnir.targets.ipu.partition import Wishes, partition
from snnir.targets.ipu.picture import panel
from snnir.targets.ipu.plan import Plan
from snnir.targets.ipu.plan_json import plan_facts
from snnir.targets.ipu.search import Choice, Search
from snnir.targets.ipu.sizes import Sizer
from snnir.targets.ipu.structure import Structure
from snnir.targets.ipu.target import IpuCompiled
from tests.helpers import graph, lif_step, spikes
from tests.ipu.checker import measured
from tests.ipu.machines import (
    SmallIpu,
    compiled,
    facts,
    like,
    recurrent,
    uneven,
)
from tests.ipu.nets import convolutional, layers
from tests.targets import t

NETS: dict[str, tuple[Any, dict[str, Any]]] = {
    "dense": (lambda: layers(784, 256, 10), {}),
    "dense, lists": (lambda: layers(784, 256, 10), {"events": "lists", "batch": 2}),
    "dense, two IPUs": (
        lambda: layers(60, 48, 10),
        {"ipus": 2, "tiles": 8, "tile_bytes": 2200, "reserve": 0.0},
    ),
    "convolution": (convolutional, {"batch": 3}),
    "convolution, eight tiles": (convolutional, {"tiles": 8, "tile_bytes": 4000}),
    "sparse recurrent": (lambda: recurrent(300, 20), {}),
    "sparse recurrent, late": (
        lambda: recurrent(300, 20, 3),
        {"ipus": 4, "tiles": 4, "tile_bytes": 8000, "events": "lists"},
    ),
    "gathered": (lambda: recurrent(3000, 20), {"batch": 2}),
    "gathered, two IPUs": (
        lambda: recurrent(3000, 20),
        {"ipus": 2, "tiles": 300, "tile_bytes": 6000, "reserve": 0.0},
    ),
    "uneven": (uneven, {"tiles": 16, "tile_bytes": 2800, "reserve": 0.0}),
}


def made_of(name: str) -> IpuCompiled:
    make, options = NETS[name]
    return compiled(make(), **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_plans_hold_by_their_page_and_in_the_emulator(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = made_of(name)
    plan = facts(made)
    found = measured(plan)
    assert found.problems == []
    like(monkeypatch, made)
    batch = plan["machine"]["batch"]
    x = spikes((4, batch, *made.graph.inputs["x"].shape))
    run = made.emulate({"x": x})
    want = snnir.compile(made.graph, "numpy", level=0).run(x)
    np.testing.assert_array_equal(next(iter(run.outputs.values())), want.output)

    # Memory: the emulator rounds what lies together once, the plan every part.
    report = run.report
    for tile, (variables, vertices) in enumerate(
        zip(report["variable_bytes"], report["vertex_bytes"], strict=True)
    ):
        rounded = 8 * 40 * report["vertices"][tile] + 8 * 40
        assert 0 <= found.bytes_of(tile) - variables - vertices <= rounded, tile
    total = sum(report["variable_bytes"]) + sum(report["vertex_bytes"])
    assert plan["memory"]["total"] <= 1.35 * total

    # Exchange: byte for byte.
    exchanged = [c for c in report["copies"] if c["kind"] == "exchange"]
    ours = [
        (sum(each.values()), max(each.values()), found.between[key])
        for key, each in found.received.items()
    ]
    theirs = [(c["received"], c["received_max"], c["ipu_sent"]) for c in exchanged]
    assert sorted(ours + found.gathered) == sorted(theirs)


def test_a_plan_fits_its_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="the extra `test` has it")
    text = files("snnir.targets.ipu").joinpath("plan.schema.json").read_text("utf-8")
    schema = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(schema)
    for name in NETS:
        made = made_of(name)
        jsonschema.Draft202012Validator(schema).validate(facts(made))
        assert made.files["plan.schema.json"] == text.encode()


def test_many_readers_of_many_parts_have_them_gathered() -> None:
    """The pieces of memory that are sent are few then; a plan tells, and its numbers are checked."""
    pieces = {}
    for name, direct in (("gathered", False), ("gathered, two IPUs", False), ("dense", True)):
        plan = facts(made_of(name))
        assert (not plan["gathered"]) == direct
        for key in ("each", "received", "received_most", "between_ipus", "times"):
            for one in range(len(plan["gathered"])):
                changed = json.loads(json.dumps(plan))
                changed["gathered"][one][key] += 1
                assert measured(changed).problems, key
    made = made_of("gathered")
    report = made.emulate({"x": spikes((2, 1, *made.graph.inputs["x"].shape))}).report
    pieces = {c["name"]: c["pieces"] for c in report["copies"] if c["kind"] == "exchange"}
    (value,) = facts(made)["gathered"]
    parts = next(s["parts"] for s in facts(made)["stages"] if value["value"] in s["results"])
    readers = sum(count for i in facts(made)["images"] for _, count, _, _ in i["windows"])
    assert sum(pieces.values()) <= 2 * parts + 20 * readers


def test_what_is_wrong_is_found() -> None:
    """The checker is worth something: every number that is changed is noticed."""
    plan = facts(made_of("dense, two IPUs"))

    def found(*path: Any, value: Any = None) -> list[str]:
        changed = json.loads(json.dumps(plan))
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = inner[path[-1]] + 1 if value is None else value
        return measured(changed).problems

    assert measured(plan).problems == []
    assert found("stages", 1, "per")
    assert found("stages", 1, "vertex_bytes")
    assert found("stages", 1, "tiles", 0, 0)
    assert found("stages", 1, "fields", 0, "elements", 0, 0)
    assert found("values", 1, "unit")
    assert found("images", 0, "received")
    assert found("images", 0, "between_ipus")
    assert found("images", 0, "windows", 0, 3)
    assert found("images", 1, "level", value=0)
    assert found("memory", "fullest")
    assert found("machine", "usable_bytes_per_tile", value=100)


# --- What is chosen ------------------------------------------------------------------------------


def plan_of(built: Graph, machine: Machine | None = None, **wishes: Any) -> Any:
    plan, problems = partition(Structure(built), machine or Machine(), Wishes(**wishes))
    assert problems == []
    return plan


def test_few_tiles_where_more_do_not_pay() -> None:
    plan = plan_of(layers(4, 4))
    assert all(len(place.tiles) == 1 for place in plan.placements)


def test_more_neurons_have_more_tiles() -> None:
    small, large = (plan_of(recurrent(n, 50)) for n in (500, 4000))
    assert len(small.placements[0].tiles) < len(large.placements[0].tiles)


def test_lists_and_bits_are_as_asked_for() -> None:
    def forms(events: str) -> set[str]:
        plan = plan_of(layers(784, 256, 10), events=events)
        read = {"x", "lif0"}
        return {stream.form for value, stream in plan.streams.items() if value.node in read}

    assert forms("lists") == {"lists"}
    assert forms("bits") == {"bits"}


def test_lists_name_no_more_than_16_bits_can() -> None:
    plan = plan_of(recurrent(70_000, 2), events="lists")
    assert {stream.form for stream in plan.streams.values()} == {"bits"}


def test_bits_read_at_random_are_found_without_a_division() -> None:
    nodes: Any = {
        "x": (Input(Signal(Kind.SPIKES, (3, 10, 10))), []),
        "pool": (SumPool2d((2, 2), (2, 2)), ["x"]),
    }
    structure = Structure(graph(nodes, "pool", dt=1e-3))
    search = Search(structure, Sizer(structure, 1, False, 0.1), [1472, 1472])
    sizes = {c.per for c in search.candidates(0, "auto", 1472) if forms_in(c) == ("bits",)}
    assert len(sizes) > 3
    assert all(per in (1, 2, 4, 8, 16, 32) or per % 32 == 0 for per in sizes)


def forms_in(choice: Choice) -> tuple[str, ...]:
    return tuple(form for _, form in choice.forms)


def test_few_events_favour_lists() -> None:
    def cycles(events: str, activity: float) -> int:
        plan = plan_of(layers(4000, 64), events=events, activity=activity)
        return max(int(plan.cycles("lif0").max()), 1)

    assert cycles("lists", 0.001) < cycles("bits", 0.001)


def test_no_cut_drawn_at_random_is_faster() -> None:
    """The search for cuts and forms, one group after the other, ends where a random one does."""
    structure = Structure(layers(200, 120, 10))
    machine = Machine(tiles=64)
    ours = step_cycles(partition(structure, machine, Wishes())[0])  # type: ignore[arg-type]
    search = Search(structure, Sizer(structure, 1, False, 0.1), [64] * 3)
    known = [list(search.candidates(n, "auto", 64)) for n in range(3)]
    rng = np.random.default_rng(0)
    for _ in range(300):
        choices = [own[rng.integers(len(own))] for own in known]
        streams = {}
        for choice in choices:
            streams.update(search.streams_of(choice))
        places, _ = assign(search, choices, streams, machine, [range(64)] * 3, Rules())
        other = Plan(structure, machine, streams, tuple(places))
        assert ours <= 1.06 * step_cycles(other)


def test_uneven_neurons_fill_tiles_evenly() -> None:
    plan = facts(made_of("uneven"))
    found = measured(plan)
    used = [found.bytes_of(tile) for tile in range(16)]
    stage = plan["stages"][1]
    assert stage["workers"] == 1  # dealt part by part
    heaviest = max(size for size, _ in stage["fields"][0]["elements"])
    assert heaviest
    assert max(used) <= 2800


def test_the_largest_piece_goes_where_there_is_most_room() -> None:
    one = uneven().nodes
    nodes = {"x": one["x"]}
    for side in "ab":
        nodes[f"fc_{side}"] = replace(one["fc"], name=f"fc_{side}")
        lif = replace(one["lif"], name=f"lif_{side}", operands=(Value(f"fc_{side}"),))
        nodes[f"lif_{side}"] = lif
    built = Graph(nodes, {side: Value(f"lif_{side}") for side in "ab"}, 1e-3)
    structure, machine = Structure(built), Machine(tiles=10)
    search = Search(structure, Sizer(structure, 1, False, 0.1), [10] * 3)
    choices = [next(c for c in search.candidates(n, "bits", 10) if c.tiles == 10) for n in range(3)]
    streams = {v: s for c in choices for v, s in search.streams_of(c).items()}
    rooms = [range(10)] * 3
    places, filled = assign(search, choices, streams, machine, rooms, Rules(apart=False))
    largest = max(int(Plan(structure, machine, streams, tuple(places)).stage_bytes(f"lif_{side}")[
        : choices[1].workers].sum()) for side in "ab")  # fmt: skip
    assert np.array_equal(filled, Plan(structure, machine, streams, tuple(places)).tile_bytes)
    assert filled.max() < 1.3 * largest  # not twice that


def test_stages_of_a_level_do_not_share_tiles_where_there_are_more() -> None:
    nodes: Any = {"input": (Input(Signal(Kind.SPIKES, (40,))), [])}
    for side in ("a", "b"):
        nodes[f"fc_{side}"] = Linear(t(64, 40)), ["input"]
        nodes[f"lif_{side}"] = lif_step(), [f"fc_{side}"]
    nodes["both"] = Concat(), ["lif_a", "lif_b"]
    plan = plan_of(graph(nodes, "both", dt=1e-3))
    a, b = (set(plan.placement[f"lif_{side}"].tiles) for side in "ab")
    assert not a & b


# --- Several IPUs --------------------------------------------------------------------------------


def test_as_few_ipus_as_hold_it() -> None:
    built = layers(100, 100, 100)
    weights = 4 * 2 * 100 * 101
    for ipus in (1, 2, 4):
        machine = Machine(8, 0.0, 8, int(1.6 * weights / (8 * ipus)))
        assert plan_of(built, machine).machine.ipus == ipus


def test_layers_along_the_flow_stay_on_an_ipu() -> None:
    built = layers(100, 100, 100, 100, 100)
    machine = Machine(2, 0.0, 6, 16_500)
    plan = plan_of(built, machine)
    assert plan.machine.ipus == 2
    ipus = [set(np.array(place.tiles) // 6) for place in plan.placements]
    assert all(len(own) == 1 for own in ipus)
    assert ipus == sorted(ipus, key=min)
    crossing = [plan.link_bytes(image).sum() for image in plan.images.values()]
    assert sum(each > 0 for each in crossing) == 1


def test_copies_share_the_ipus() -> None:
    built = layers(60, 48, 10)
    options: dict[str, Any] = {"tiles": 8, "tile_bytes": 2200, "reserve": 0.0}
    plan = facts(compiled(built, ipus=8, replicas=4, **options))
    assert (plan["machine"]["ipus"], plan["machine"]["replicas"]) == (2, 4)
    with pytest.raises(snnir.SnnirError, match="SNN504"):
        compiled(built, ipus=8, replicas=8, **options)


@pytest.mark.slow
def test_copies_run_other_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    built = layers(60, 48, 10)
    made = compiled(
        built, ipus=4, replicas=2, tiles=8, tile_bytes=2200, reserve=0.0, batch=1
    )  # fmt: skip
    like(monkeypatch, made)
    x = spikes((3, 5, 60))
    want = snnir.compile(built, "numpy", level=0).run(x)
    np.testing.assert_array_equal(made.run(x).output, want.output)


# --- What does not fit ---------------------------------------------------------------------------


def refusals(built: Graph, **options: Any) -> list[snnir.Diagnostic]:
    return SmallIpu(**options).check(built)


def test_a_model_that_is_too_large_is_refused_with_its_sums() -> None:
    built = layers(60, 48, 10)
    [problem] = refusals(built, tiles=8, tile_bytes=2000, reserve=0.1)
    assert problem.code == "SNN504"
    text = problem.message.replace(",", "")
    numbers = [
        int(word) for word in text.replace(";", " ").replace(":", " ").split() if word.isdigit()
    ]
    need, tiles, *kinds = numbers[:9]
    assert tiles == 8
    assert sum(kinds) == need
    assert kinds[0] >= 4 * (60 * 48 + 48 * 10)  # the weights
    assert numbers[9] == 8 * 1800
    assert need > numbers[8]


def test_what_is_said_to_help_does() -> None:
    built = layers(60, 48, 10)
    given: dict[str, Any] = {"tiles": 8, "tile_bytes": 1600, "reserve": 0.1}
    [problem] = refusals(built, **given)
    assert problem.hint is not None
    assert "--set ipus=" in problem.hint
    ipus = int(problem.hint.split("--set ipus=")[1].split(",")[0])
    assert refusals(built, ipus=ipus, **given) == []
    assert refusals(built, ipus=ipus // 2, **given) != []
    given["tile_bytes"] = 2000
    [problem] = refusals(built, **given)
    assert "--set precision=half" in (problem.hint or "")
    assert refusals(built, precision="half", **given) == []


def test_a_neuron_that_no_tile_holds_is_named() -> None:
    built = layers(400, 6, 3)
    [problem] = refusals(built, tiles=100, tile_bytes=1600, reserve=0.0, ipus=2)
    assert problem.node == "lif0"
    assert "alone needs" in problem.message
    assert "ipus=" not in (problem.hint or "")


def test_float64_is_refused() -> None:
    program = lif_step().program
    wide = Step(replace(program, dtype="f64"), lif_step().params, "lif")
    nodes: Any = {"x": (Input(Signal(Kind.ANALOG, (3,))), []), "lif": (wide, ["x"])}
    found = SmallIpu().check(graph(nodes, "lif", dt=1e-3))
    assert {problem.code for problem in found} == {"SNN501"}
    assert "float64" in found[0].message


def test_integers_that_32_bits_do_not_hold_are_refused() -> None:
    weight = Linear(snnir.tensor(np.full((2, 40), 2**30, np.int32)))
    nodes: Any = {"x": (Input(Signal(Kind.SPIKES, (40,))), []), "fc": (weight, ["x"])}
    found = SmallIpu().check(graph(nodes, "fc", dt=1e-3))
    assert {problem.code for problem in found} == {"SNN501"}
    assert found[0].node == "fc"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("ipus", 3), ("ipus", 128), ("replicas", 3), ("replicas", 0), ("batch", 0),
        ("reserve", 1.0), ("activity", 1.5), ("events", "words"), ("precision", "int8"),
    ],
)  # fmt: skip
def test_options_are_checked(option: str, value: Any) -> None:
    with pytest.raises(snnir.SnnirError, match=f"SNN503.*{option} is"):
        SmallIpu(**{option: value})


# --- Anything ------------------------------------------------------------------------------------


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    kind = draw(st.sampled_from(["chain", "convolution", "recurrent", "uneven"]))
    if kind == "chain":
        return layers(*draw(st.lists(st.integers(1, 90), min_size=2, max_size=5)))
    if kind == "recurrent":
        neurons = draw(st.integers(2, 150))
        return recurrent(neurons, draw(st.integers(0, neurons // 2)), draw(st.integers(1, 3)))
    if kind == "uneven":
        return uneven(draw(st.integers(1, 60)), draw(st.integers(1, 200)))
    return convolutional()


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    networks(), st.integers(1, 40), st.integers(200, 20_000), st.sampled_from([1, 2, 4]),
    st.sampled_from(["auto", "lists", "bits"]), st.integers(1, 3), st.booleans(),
)  # fmt: skip
def test_every_network_is_planned_or_refused(
    built: Graph, tiles: int, tile_bytes: int, ipus: int, events: str, batch: int, keep: bool
) -> None:
    options: dict[str, Any] = {"events": events, "batch": batch, "keep": keep}
    target = SmallIpu(tiles=tiles, tile_bytes=tile_bytes, ipus=ipus, reserve=0.1, **options)
    structure = Structure(built, keep)
    wishes = Wishes(batch=batch, events=events)
    plan, problems = partition(structure, target.machine, wishes)
    if plan is None:
        assert problems
        assert {problem.code for problem in problems} == {"SNN504"}
        return
    found = measured(json.loads(json.dumps(plan_facts(plan, "", {}))))
    assert found.problems == []
    # More of anything never hurts.
    more = Machine(2 * ipus, 0.1, tiles, tile_bytes)
    assert partition(structure, more, wishes)[1] == []


# --- Large networks ------------------------------------------------------------------------------


@pytest.mark.slow
def test_planning_a_large_network_takes_little_time_and_memory() -> None:
    """10^5 neurons with 100 inputs each; benchmarks/ipu.py has ten times as many."""
    built = recurrent(100_000, 100)
    held = sum(x.nbytes for node in built.nodes.values() for x in node.op.tensors().values())
    assert held > 80e6
    assert built.signals
    tracemalloc.start()
    begin = time.process_time()
    plan = plan_of(built)
    seconds, (_, most) = time.process_time() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 6  # 60 for 10^6, were it linear
    assert most < held / 2
    found = measured(json.loads(json.dumps(plan_facts(plan, "", {}))))
    assert found.problems == []
    assert sum(found.tiles["constants"]) >= 8 * 10_000_000


# --- Estimates and the report --------------------------------------------------------------------


def test_a_step_is_estimated_as_by_hand() -> None:
    """One neuron with 64 inputs, all of them bits, none of them 1: two words are looked at."""
    plan = plan_of(layers(64, 1), events="bits", activity=0.0)
    assert plan.streams[Value("x")].cut.per in (32, 64)
    program = lif_step().program
    scanned = 2 * (2 + 2)  # two words: the turn of a loop and a read each
    cleared = 2 * (2 + 1)  # one sum is cleared and read
    element = 2 + len(program.body) + 4 * len(program.states) + 3 * 2  # of two nodes
    instructions = scanned + cleared + element + 10 + 20
    [level] = level_costs(plan)
    assert level.compute == 20 + 6 * instructions
    # Eight bytes at four in a cycle, unless they are where they are read; and two meetings.
    [image] = plan.images.values()
    away = int(plan.received(image).sum())
    assert level.exchange == away // 4
    assert away in (0, 8)
    assert level.sync == 400


def test_more_events_take_longer() -> None:
    def cycles(activity: float) -> int:
        return step_cycles(plan_of(layers(784, 256, 10), activity=activity))

    assert cycles(0.01) < cycles(0.1) < cycles(1.0)


def test_links_cost() -> None:
    plan = plan_of(layers(100, 100, 100, 100, 100), Machine(2, 0.0, 6, 16_500))
    crossing = [cost for cost in level_costs(plan) if cost.link]
    assert len(crossing) == 1
    assert crossing[0].sync == 200 + 800
    [image] = [image for image in plan.images.values() if plan.link_bytes(image).any()]
    assert crossing[0].link == -(-int(plan.link_bytes(image).max()) // 44)


def test_the_report_has_the_plan(tmp_path: Path) -> None:
    made = made_of("dense, two IPUs")
    page = (made.save(tmp_path / "out") / "report.html").read_text("utf-8")
    for title in made.tables:
        assert title in page
    assert page.count("class='chart'") == len(made.pictures) == 2
    rows = {name: whole for name, whole, _ in made.tables["Bytes of tiles"][1]}
    assert rows["all"] == facts(made)["memory"]["total"]


def test_pictures_show_full_and_empty_tiles() -> None:
    pixels = panel(np.array([0.0, 1.0, 0.5]))
    colours = [tuple(pixels[0, n].astype(int)) for n in range(3)]
    assert colours == [(128, 128, 128, 56), (176, 24, 48, 255), (147, 100, 140, 255)]


def test_names_of_any_kind_are_drawn() -> None:
    base = layers(5, 4)
    nodes = {name.replace("lif0", "<b>$\\frac$ \u4e2d"): node for name, node in base.nodes.items()}
    renamed = {name: replace(node, name=name) for name, node in nodes.items()}
    made = compiled(Graph(renamed, {"output": Value("<b>$\\frac$ \u4e2d")}, 1e-3))
    drawn = "".join(map(str, made.pictures.values()))
    assert "&lt;b&gt;$\\frac$ \u4e2d" in drawn
    assert "<b>" not in drawn
