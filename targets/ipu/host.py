"""The host program: what lies where, as calls of `cpp/network.hpp`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from snnir.artefact import populations
from snnir.embedding import plain_text
from snnir.ir.graph import Value
from snnir.targets.ipu.codelets import class_name
from snnir.targets.ipu.memory import CONSTANT, Array, Field
from snnir.targets.ipu.plan import Image, Placement, Plan
from snnir.targets.ipu.structure import DELAY, Stage
from snnir.targets.ipu.vertices import Vertices

#: C++ types in Poplar's terms.
TYPES = {
    "float": "FLOAT", "half": "HALF", "int": "INT", "unsigned": "UNSIGNED_INT", "short": "SHORT",
    "unsigned short": "UNSIGNED_SHORT", "signed char": "SIGNED_CHAR",
    "unsigned char": "UNSIGNED_CHAR",
}  # fmt: skip

HEAD = """\
// The host program of a spiking network on IPUs, written by snnir.
//
//     host FOLDER INPUT OUTPUT STEPS SAMPLES [NAME ...]
//
// FOLDER has tiles.bin. INPUT has the numbers of every input, 32 bits each, as [time, sample,
// element], one input after the other; so has OUTPUT of every output, then of every NAME.
// To build it with the SDK: c++ -std=c++17 -O2 host.cpp network.cpp -lpoplar -o host; run it in
// the folder, where it finds codelets.cpp. Nothing here has run on an IPU.
#include "network.hpp"

using snnir::Field;
using snnir::Form;
using snnir::Gathered;
using snnir::Image;
using snnir::Network;
using snnir::Places;
using snnir::Stream;
"""

MAIN = """\
int main(int argc, char **argv) {{
  if (argc < 6) snnir::fail("usage: host FOLDER INPUT OUTPUT STEPS SAMPLES [NAME ...]");
  auto manager = poplar::DeviceManager::createDeviceManager();
  poplar::Device device;
  bool attached = false;
  for (auto &other : manager.getDevices(poplar::TargetType::IPU, {ipus})) {{
    if (!attached && other.attach()) {{
      device = std::move(other);
      attached = true;
    }}
  }}
  if (!attached) snnir::fail("no free device of {ipus} IPUs was found");
  if (device.getTarget().getTilesPerIPU() != {tiles}) {{
    snnir::fail("the plan is for IPUs of {tiles} tiles");
  }}
  Network net(device.getTarget(), {replicas}, {batch});
  for (int n = 6; n < argc; ++n) net.wanted.push_back(argv[n]);
  build(net);
  net.run(device, argv[1], argv[2], argv[3], std::strtoul(argv[4], nullptr, 10),
          std::strtoul(argv[5], nullptr, 10));
  return 0;
}}
"""


class Host:
    """Writes the host program of a plan.

    Attributes:
        plan: The plan.
        constants: The fields whose data `tiles.bin` has, in order, as the program declares them.
    """

    def __init__(self, plan: Plan, title: str) -> None:
        self.plan, self.title = plan, title
        self.constants: list[Field] = []
        self.groups = {name: n for n, place in enumerate(plan.placements) for name in place.stages}
        self.names = plan.structure.layout.names

    def text(self) -> str:
        """Return the program."""
        tables = [_places(n, place) for n, place in enumerate(self.plan.placements)]
        lines = [
            line
            for part in (self.streams(), self.images(), self.gatherings(), self.steps())
            for line in part
        ]
        plan = self.plan
        main = MAIN.format(
            ipus=plan.machine.ipus * plan.replicas, tiles=plan.machine.tiles,
            replicas=plan.replicas, batch=plan.batch,
        )  # fmt: skip
        return "\n".join(
            [
                HEAD, f"// Model: {plain_text(self.title)}", "", *tables, "",
                "static void build(Network &net) {",
                *(f"  {line}" if line else "" for line in lines),
                "}", "", main,
            ]
        )  # fmt: skip

    # --- Names -----------------------------------------------------------------------------------

    def stream_name(self, value: Value) -> str:
        """Return the variable of a value."""
        return f"{self.names[value.node]}_{value.result}"

    def image_name(self, value: Value, late: bool) -> str:
        """Return the variable of what tiles receive of a value."""
        return f"{self.stream_name(value)}_{_image(late)}"

    def places(self, stage: str) -> str:
        """Return the table of a stage's tiles."""
        return f"places_{self.groups[stage]}"

    # --- What lies on tiles ----------------------------------------------------------------------

    def streams(self) -> Iterator[str]:
        """Yield the values."""
        for stage in self.plan.stages.values():
            for value in stage.results:
                s, name = self.plan.streams[value], self.stream_name(value)
                kind = f"poplar::{TYPES[s.item]}"
                yield (
                    f"const Stream {name} = net.stream({quoted(s.ident)}, Form::{s.form}, {kind}, "
                    f"{s.cut.size}, {s.cut.per}, {s.unit}, {self.places(stage.name)});"
                )
                if stage.kind == DELAY or (value, True) in self.plan.images:
                    yield f"net.starts_at_zero({quoted(s.ident)}, {kind}, {name});"

    def images(self) -> Iterator[str]:
        """Yield what tiles receive of them."""
        for image in self.plan.images.values():
            stream = self.plan.streams[image.value]
            yield (
                f"const Image {self.image_name(image.value, image.late)} = net.image("
                f"{quoted(f'{stream.ident}.{_image(image.late)}')}, poplar::{TYPES[stream.item]}, "
                f"{_windows(image)});"
            )

    def gatherings(self) -> Iterator[str]:
        """Yield the tiles that put values together before they are sent on."""
        for value, gathering in self.plan.gatherings.items():
            stream, name = self.plan.streams[value], self.stream_name(value)
            tiles = ", ".join(map(str, gathering.tiles.tolist()))
            yield (
                f"const Gathered {name}_gathered = net.gathered("
                f"{quoted(f'{stream.ident}.gathered')}, poplar::{TYPES[stream.item]}, {name}, "
                f"{gathering.each}, {{{tiles}}});"
            )

    # --- One step --------------------------------------------------------------------------------

    def steps(self) -> Iterator[str]:
        """Yield what happens in a step, in order."""
        graph = self.plan.structure.graph
        yield from self.sent(image for image in self.plan.images.values() if image.late)
        for name in graph.inputs:
            value = Value(name)
            kind = f"poplar::{TYPES[self.plan.streams[value].item]}"
            yield f"net.input({quoted(self.names[name])}, {kind}, {self.stream_name(value)});"
        is_over = False
        for level, stages in self.plan.levels():
            if stages[0].kind == DELAY and not is_over:
                yield from self.results()
                is_over = True
            yield ""
            yield from self.level(level, stages)
        if not is_over:
            yield from self.results()

    def level(self, level: int, stages: Sequence[Stage]) -> Iterator[str]:
        """Yield one level: what is sent before it, its vertices, their execution."""
        now = (image for image in self.plan.images.values() if not image.late)
        yield from self.sent(image for image in now if image.level == level)
        yield f"const auto level_{level} = net.level({quoted(f'level {level}')});"
        for stage in stages:
            yield from self.stage(stage, level)
        yield f"net.execute(level_{level});"

    def sent(self, images: Iterable[Image]) -> Iterator[str]:
        """Yield what sends values to the tiles that read them."""
        for image in images:
            label = quoted(f"{self.plan.streams[image.value].ident} {_image(image.late)}")
            given, made = self.stream_name(image.value), self.image_name(image.value, image.late)
            through = f"{given}_gathered, " if image.value in self.plan.gatherings else ""
            yield f"net.send({given}, {through}{made}, {label});"

    def stage(self, stage: Stage, level: int) -> Iterator[str]:
        """Yield a stage: its fields, and a vertex for every part."""
        vertices = self.plan.vertices(stage.name)
        yield f"// {plain_text(stage.name)}"
        name = self.names[stage.name]
        for item in vertices.fields:
            yield self.field(stage, item)
        results = [self.stream_name(value) for value in stage.results]
        cycles = self.plan.cycles(stage.name)
        yield f"for (unsigned part = 0; part < {results[0]}.parts; ++part) {{"
        yield f"  const unsigned tile = {self.places(stage.name)}.of(part);"
        yield f"  const unsigned first = part * {vertices.cut.per};"
        kind = quoted(class_name(vertices))
        yield f"  const auto vertex = net.graph.addVertex(level_{level}, {kind});"
        yield "  net.graph.setTileMapping(vertex, tile);"
        yield f"  net.graph.setPerfEstimate(vertex, {int(np.max(cycles))});"
        yield from self.given(vertices, results[0])
        for item in vertices.fields:
            yield f'  net.connect(vertex, "{item.name}", {name}_{item.name}.part(part));'
        for index, result in enumerate(results):
            yield f'  net.connect(vertex, "out{index}", {result}.tensor[part].flatten());'
        yield '  net.set(vertex, "first", first);'
        size, per = vertices.cut.size, vertices.cut.per
        yield f'  net.set(vertex, "count", {size}u - first < {per}u ? {size}u - first : {per}u);'
        yield "}"

    def given(self, vertices: Vertices, own: str) -> Iterator[str]:
        """Yield the connections of what a vertex reads."""
        for leaf, read in zip(vertices.leaves, vertices.stage.reads, strict=True):
            source = self.stream_name(read.source)
            if leaf.is_local:
                yield f'  net.connect(vertex, "{leaf.given}", {source}.tensor[part].flatten());'
            else:
                image = self.image_name(read.source, read.late)
                yield f'  net.connect(vertex, "{leaf.given}", {image}, tile);'

    def field(self, stage: Stage, item: Field) -> str:
        """Return the declaration of a field."""
        name, label = (
            f"{self.names[stage.name]}_{item.name}",
            quoted(f"{self.names[stage.name]}.{item.name}"),
        )
        kind, places = f"poplar::{TYPES[item.ctype]}", self.places(stage.name)
        written = "true" if item.data is not None else "false"
        if item.data is not None:
            self.constants.append(item)
        call = "field" if item.role == CONSTANT else "state"
        return (
            f"const Field {name} = net.{call}({label}, {kind}, {_sizes(item.room)}, {places}, "
            f"{written});"
        )

    # --- Results ---------------------------------------------------------------------------------

    def results(self) -> Iterator[str]:
        """Yield what a step gives: outputs, and what is recorded if it is asked for."""
        graph, structure = self.plan.structure.graph, self.plan.structure
        yield ""
        for number, value in enumerate(graph.outputs.values()):
            yield f'net.output("output {number}", {self.given_out(structure.root(value))});'
        for value in dict.fromkeys(self.plan.recordable_values().values()):
            yield f'net.record("{value_handle(self.plan, value)}", {self.given_out(value)});'
        for name, (stage, item) in self.plan.recordable_states().items():
            cut = self.plan.vertices(stage).cut
            yield (
                f'net.record("{state_handle(self.plan, name)}", poplar::{TYPES[item.ctype]}, '
                f"{self.names[stage]}_{item.name}, {cut.size}, {cut.per});"
            )
        for name in populations(graph):
            yield f'net.count("{count_handle(self.plan, name)}", {self.given_out(Value(name))});'

    def given_out(self, value: Value) -> str:
        """Return a value as an argument: its type and its variable."""
        kind = TYPES[self.plan.streams[value].item]
        return f"poplar::{kind}, {self.stream_name(value)}"


def value_handle(plan: Plan, value: Value) -> str:
    """Return the word by which a kept value is recorded; nodes may have any name."""
    return f"record {plan.streams[value].ident}"


def state_handle(plan: Plan, name: str) -> str:
    """Return the word by which a `NODE:STATE` is recorded."""
    node, _, state = name.rpartition(":")
    return f"record {plan.structure.layout.names[node]}:{state}"


def count_handle(plan: Plan, name: str) -> str:
    """Return the word by which a population's spikes are counted."""
    return f"count {plan.structure.layout.names[name]}"


def quoted(text: str) -> str:
    """Return a C++ string; what is not ASCII is escaped byte by byte."""
    found = []
    for byte in text.encode("utf-8", "surrogatepass"):
        plain = 32 <= byte < 127 and chr(byte) not in '"\\?'
        found.append(chr(byte) if plain else f"\\{byte:03o}")
    return '"' + "".join(found) + '"'


def _image(late: bool) -> str:
    return "before" if late else "image"


def _places(number: int, place: Placement) -> str:
    tiles = ", ".join(map(str, place.tiles))
    return f"static const Places places_{number} = {{{{{tiles}}}, {place.workers}}};"


def _sizes(sizes: Array) -> str:
    """Return the sizes of parts, in short if all but the last are alike."""
    if len(sizes) > 2 and (sizes[:-1] == sizes[0]).all():
        return f"snnir::even({len(sizes)}, {sizes[0]}, {sizes[-1]})"
    return "{" + ", ".join(map(str, sizes.tolist())) + "}"


def _windows(image: Image) -> str:
    """Return the windows of tiles; runs of tiles that receive the same are written once."""
    rows = zip(image.tiles.tolist(), image.low.tolist(), image.high.tolist(), strict=True)
    runs: list[list[int]] = []
    for tile, low, high in rows:
        if runs and runs[-1][1] == tile and runs[-1][2:] == [low, high]:
            runs[-1][1] += 1
        else:
            runs.append([tile, tile + 1, low, high])
    return "snnir::windows({" + ", ".join(f"{{{a}, {b}, {c}, {d}}}" for a, b, c, d in runs) + "})"
