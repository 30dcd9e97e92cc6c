// One right program and one for every rule that can be broken; the first argument chooses.
#include <poplar/CSRFunctions.hpp>
#include <poplar/DeviceManager.hpp>
#include <poplar/Engine.hpp>
#include <poplar/Graph.hpp>
#include <poplar/Program.hpp>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

using namespace poplar;
using namespace poplar::program;

namespace {

std::string fault;
bool is(const char* name) { return fault == name; }

Device device_with(unsigned ipus) {
  auto manager = DeviceManager::createDeviceManager();
  for (auto& device : manager.getDevices(TargetType::IPU, ipus))
    if (device.attach()) return device;
  std::exit(9);
}

std::vector<float> floats_from_input(std::size_t count) {
  std::vector<float> values(count);
  if (std::fread(values.data(), sizeof(float), count, stdin) != count) std::exit(8);
  return values;
}

template <class T>
void to_output(const std::vector<T>& values) {
  std::fwrite(values.data(), sizeof(T), values.size(), stdout);
}

// Every tile scales its part; the parts are gathered on tile 0 and sent to all; what the last tile
// received and what tile 1 sent go to the host.
int steps_program(unsigned steps) {
  Device device = device_with(2);
  const unsigned tiles = device.getTarget().getNumTiles(), part = 4, all = tiles * part;
  Graph graph(device.getTarget());
  graph.addCodelets("codelets.cpp", CodeletFileType::Auto, "-O3");
  Tensor x = graph.addVariable(FLOAT, {tiles, part}, "x");
  Tensor y = graph.addVariable(FLOAT, {tiles, part}, "y");
  Tensor gathered = graph.addVariable(FLOAT, {all}, "gathered");
  Tensor inbox = graph.addVariable(FLOAT, {tiles, all}, "inbox");
  ComputeSet scale = graph.addComputeSet("scale");
  graph.setTileMapping(gathered, 0);
  for (unsigned tile = 0; tile < tiles; ++tile) {
    graph.setTileMapping(x[tile], tile);
    graph.setTileMapping(y[tile], tile);
    graph.setTileMapping(inbox[tile], tile);
    VertexRef vertex = graph.addVertex(scale, "Scale");
    graph.setTileMapping(vertex, tile);
    graph.connect(vertex["x"], x[tile]);
    graph.connect(vertex["y"], y[tile]);
    graph.setInitialValue(vertex["factor"], 0.5f);
    graph.setInitialValue(vertex["offset"], -static_cast<int>(tile));
    graph.setPerfEstimate(vertex, 10 + tile);
  }
  DataStream in = graph.addHostToDeviceFIFO("in", FLOAT, all);
  DataStream out = graph.addDeviceToHostFIFO("out", FLOAT, all + part);
  std::vector<Tensor> copies(tiles, gathered.reshape({1, all}));
  Sequence step;
  step.add(Copy(in, x.flatten()));
  step.add(Execute(scale));
  step.add(Copy(y.flatten(), gathered, false, "gather"));
  step.add(Copy(concat(copies), inbox, false, "broadcast"));
  // Transposed twice, to move single elements too.
  Tensor last = inbox[tiles - 1].reshape({part, tiles}).dimShuffle({1, 0});
  step.add(Copy(concat({last.flatten(), y.slice(1, 2).flatten()}), out));
  Sequence whole;
  setStochasticRounding(graph, whole, false);
  setFloatingPointBehaviour(graph, whole, {true, true, true, false, true});
  whole.add(Repeat(steps, step, "steps"));
  step.add(Execute(scale));  // too late for the program above
  Engine engine(graph, std::vector<Program>{whole}, {{"debug.instrument", "false"}});
  engine.load(device);
  std::vector<float> given = floats_from_input(steps * all), taken(steps * (all + part));
  engine.connectStream("in", given.data(), given.data() + given.size());
  engine.connectStream("out", taken.data(), taken.data() + taken.size());
  engine.run(0);
  to_output(taken);
  return 0;
}

// Each replica scales what it is given by its own callback.
int replicas_program() {
  Device device = device_with(2);
  Graph graph(device.getTarget(), replication_factor(2));
  if (graph.getTarget().getNumIPUs() != 1) return 7;
  graph.addCodelets("codelets.cpp");
  Tensor x = graph.addVariable(FLOAT, {4}, "x"), y = graph.addVariable(FLOAT, {4}, "y");
  graph.setTileMapping(concat({x, y}), 1);
  ComputeSet scale = graph.addComputeSet("scale");
  VertexRef vertex = graph.addVertex(scale, "Scale");
  graph.setTileMapping(vertex, 1);
  graph.connect(vertex["x"], x);
  graph.connect(vertex["y"], y);
  graph.setInitialValue(vertex["factor"], 2.0);
  graph.setInitialValue(vertex["offset"], 1u);
  DataStream in = graph.addHostToDeviceFIFO("in", FLOAT, 4);
  DataStream out = graph.addDeviceToHostFIFO("out", FLOAT, 4);
  graph.createHostWrite("x", x);
  Sequence program({Copy(in, x), Execute(scale), Copy(y, out)});
  Engine engine(graph, std::vector<Program>{Sequence(), program});
  engine.load(device);
  std::vector<float> given = floats_from_input(8), taken(8);
  if (is("replica-write")) engine.writeTensor("x", &given[0], &given[4]);
  if (is("replica-buffer")) engine.connectStream("in", &given[0], &given[8]);
  for (unsigned replica = 0; replica < (is("replica-missing") ? 1 : 2); ++replica) {
    engine.connectStreamToCallback("in", replica, [&, replica](void* to) {
      for (int i = 0; i < 4; ++i) static_cast<float*>(to)[i] = given[replica * 4 + i];
    });
    engine.connectStreamToCallback("out", replica, [&, replica](void* from) {
      for (int i = 0; i < 4; ++i) taken[replica * 4 + i] = static_cast<float*>(from)[i];
    });
  }
  engine.run(1);
  to_output(taken);
  return 0;
}

// Halves: as many floats as there are halves are rounded; all halves are widened and folded.
int halves_program() {
  const unsigned count = 1 << 16, tiles = 4;
  Device device = device_with(1);
  Graph graph(device.getTarget());
  graph.addCodelets("codelets.cpp");
  ComputeSet set = graph.addComputeSet("halves");
  std::vector<VertexRef> vertices;
  for (unsigned tile = 0; tile < tiles; ++tile) {
    vertices.push_back(graph.addVertex(set, "Halves"));
    graph.setTileMapping(vertices[tile], tile);
  }
  for (const char* name : {"floats", "halves", "rounded", "folded", "widened"}) {
    const bool wide = std::string(name) == "floats" || std::string(name) == "widened";
    Tensor tensor = graph.addVariable(wide ? FLOAT : HALF, {tiles, count / tiles}, name);
    for (unsigned tile = 0; tile < tiles; ++tile) {
      graph.setTileMapping(tensor[tile], tile);
      graph.connect(vertices[tile][name], tensor[tile]);
    }
    graph.createHostWrite(name, tensor);
    graph.createHostRead(name, tensor);
  }
  Engine engine(graph, std::vector<Program>{Execute(set)});
  engine.load(device);
  std::vector<float> floats = floats_from_input(count), widened(count);
  std::vector<unsigned short> halves(count), rounded(count), folded(count);
  for (unsigned i = 0; i < count; ++i) halves[i] = static_cast<unsigned short>(i);
  engine.writeTensor("floats", floats.data(), floats.data() + count);
  engine.writeTensor("halves", halves.data(), halves.data() + count);
  engine.run(0);
  engine.readTensor("rounded", rounded.data(), rounded.data() + count);
  engine.readTensor("folded", folded.data(), folded.data() + count);
  engine.readTensor("widened", widened.data(), widened.data() + count);
  to_output(rounded);
  to_output(folded);
  to_output(widened);
  return 0;
}

// Small enough that each fault is one line; without a fault it runs.
int faults_program() {
  Device device = device_with(1);
  if (is("not-attached")) device.detach();
  Graph graph(device.getTarget());
  Sequence start, program;
  if (is("rounding")) setStochasticRounding(graph, start, true);
  if (!is("no-codelets")) graph.addCodelets(is("no-file") ? "absent.cpp" : "codelets.cpp");
  Tensor a = graph.addVariable(FLOAT, {4, 4}, "a");
  Tensor b = graph.addVariable(FLOAT, {4, 4}, "b");
  Tensor events = graph.addVariable(UNSIGNED_SHORT, {6}, "events");
  Tensor totals = graph.addVariable(UNSIGNED_SHORT, {4}, "totals");
  Tensor far = graph.addVariable(FLOAT, {16}, "far");
  if (is("unmapped")) graph.setTileMapping(a.slice(0, 3), 1);
  else graph.setTileMapping(a, is("no-tile") ? 4 : 1);
  if (is("twice")) graph.setTileMapping(a[2], 2);
  if (is("border")) {
    graph.setTileMapping(b.slice(0, 1), 1);
    graph.setTileMapping(b.slice(1, 4), 2);
  } else {
    graph.setTileMapping(b, 1);
  }
  if (is("memory")) graph.setTileMapping(graph.addVariable(FLOAT, {200}, "big"), 1);
  graph.setTileMapping(events, 1);
  graph.setTileMapping(totals, 1);
  graph.setTileMapping(far, 3);

  ComputeSet scale = graph.addComputeSet("scale"), sum = graph.addComputeSet("sum");
  auto add_scale = [&](const Tensor& x, const Tensor& y, ComputeSet set) {
    VertexRef vertex = graph.addVertex(set, is("codelet") ? "Scalee" : "Scale");
    if (!is("nowhere")) graph.setTileMapping(vertex, 1);
    graph.connect(vertex[is("field") ? "z" : "x"], x);
    if (!is("unconnected")) graph.connect(vertex["y"], y);
    if (is("connected-twice")) graph.connect(vertex["y"], y);
    if (is("inexact")) graph.setInitialValue(vertex["factor"], 0.1);
    else if (!is("unset")) graph.setInitialValue(vertex["factor"], 0.5);
    graph.setInitialValue(vertex["offset"], is("too-large") ? 1ll << 31 : 2ll);
  };
  auto add_sum = [&](const Tensor& in, const Tensor& total, unsigned length) {
    VertexRef vertex = graph.addVertex(sum, "Sum");
    graph.setTileMapping(vertex, 1);
    graph.connect(vertex["in"], in);
    graph.connect(vertex["total"], total);
    graph.setInitialValue(vertex["length"], length);
  };
  if (is("other-tile")) add_scale(a[0], far.slice(0, 4), scale);
  else if (is("scattered")) add_scale(a[0], b.dimShuffle({1, 0})[0], scale);
  else if (is("type")) add_scale(a[0], totals, scale);
  else if (is("border")) add_scale(a[0], b.flatten().slice(2, 6), scale);
  else add_scale(a[0], b[0], scale);
  add_scale(a[1], is("same-elements") ? b.flatten().slice(3, 7) : b[1], scale);
  if (is("reads-writes")) add_scale(b[1], b[2], scale);
  add_sum(events.slice(0, 3), totals.slice(0, 1), is("outside") ? 4 : 3);
  add_sum(events.slice(3, 6), is("same-word") ? totals.slice(1, 2) : totals.slice(2, 3),
          is("outside") ? 4 : is("refused") ? 0 : 3);
  if (is("alignment") || is("division") || is("partial")) {
    VertexRef vertex = graph.addVertex(scale, "Wide");
    graph.setTileMapping(vertex, 1);
    graph.connect(vertex["in"], a.flatten().slice(is("alignment") ? 9 : 8, 12));
    graph.connect(vertex["out"], b[3]);
  }

  DataStream in = graph.addHostToDeviceFIFO("in", FLOAT, 16);
  DataStream out = graph.addDeviceToHostFIFO("out", FLOAT, 16);
  if (is("two-streams")) graph.addDeviceToHostFIFO("out", FLOAT, 16);
  if (is("stream-words")) graph.addHostToDeviceFIFO("counts", UNSIGNED_SHORT, 3);
  graph.createHostWrite("events", events);
  graph.createHostWrite("totals", totals);
  graph.createHostRead("totals", totals);
  graph.createHostRead("b", b);
  graph.createHostRead("b3", b[3]);
  if (is("division")) setFloatingPointBehaviour(graph, program, {true, true, true, false, true});
  if (!is("never-written")) program.add(Copy(in, a.flatten()));
  if (is("copy-never-written")) program.add(Copy(b.flatten(), far));
  if (is("stream-size")) program.add(Copy(in, a[0]));
  if (is("stream-way")) program.add(Copy(out, a.flatten()));
  program.add(Execute(scale));
  program.add(Execute(sum));
  if (is("copy-size")) program.add(Copy(b[0], far));
  if (is("copy-shape")) program.add(Copy(b, far));
  if (is("copy-type")) program.add(Copy(b[0], totals));
  if (is("copy-overlap")) program.add(Copy(a.slice(0, 2), a.slice(1, 3)));
  if (is("copy-twice")) program.add(Copy(a.slice(0, 2), concat({b[0], b[0]}).reshape({2, 4})));
  program.add(Copy(a.flatten(), far));
  program.add(Copy(far, out));
  OptionFlags options;
  if (is("option")) options.set("debug.instrumentt", "true");
  Engine engine(graph, std::vector<Program>{start, program}, options);
  if (!is("not-loaded")) engine.load(device);
  if (is("late")) graph.setTileMapping(totals, 1);
  std::vector<float> values(16), taken(16);
  std::vector<unsigned short> counts(8, 1);
  for (unsigned i = 0; i < 16; ++i) values[i] = i == 8 ? 0.0f : static_cast<float>(i);
  engine.writeTensor("events", &counts[0], &counts[is("write-size") ? 5 : 6]);
  engine.writeTensor("totals", &counts[0], &counts[4]);
  if (is("read-way")) engine.readTensor("events", &counts[0], &counts[6]);
  if (is("read-unwritten")) engine.readTensor("b", &taken[0], &taken[16]);
  engine.connectStream("in", &values[0], &values[is("buffer-size") ? 12 : 16]);
  if (!is("not-connected")) engine.connectStream("out", &taken[0], &taken[0] + 16);
  engine.run(is("program") ? 2 : 1);
  engine.readTensor("totals", &counts[0], &counts[4]);
  if (is("partial")) {
    engine.readTensor("b3", &taken[0], &taken[4]);
    std::printf("%d %d\n", std::isnan(taken[0]), std::isnan(taken[1]));
  }
  std::printf("%u %u %g\n", counts[0], counts[2], taken[15]);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  fault = argc > 1 ? argv[1] : "";
  if (fault == "steps") return steps_program(static_cast<unsigned>(std::atoi(argv[2])));
  if (fault == "halves") return halves_program();
  if (fault.rfind("replica", 0) == 0) return replicas_program();
  return faults_program();
}
