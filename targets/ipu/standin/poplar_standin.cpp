// Runs a host program written for Poplar on this machine, and checks every rule of the IPU that can
// be checked without one: where elements and vertices are, what a tile holds, who writes what, what
// moves between tiles. A broken rule ends the program with code 3 and one line. Our own code; it
// models no timing, no exchange code in memory and no cross-replica operation.
#include "poplar_standin.hpp"

#include <algorithm>
#include <cfenv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <unordered_map>

#include "vertex_standin.hpp"

namespace snnir_standin {

using poplar::Tensor;
using Bytes = std::uint64_t;

constexpr unsigned nowhere = ~0u;

[[noreturn]] void fail(const std::string& message) {
  std::fflush(stdout);
  std::fprintf(stderr, "ipu: %s\n", message.c_str());
  std::fflush(stderr);
  std::_Exit(3);
}

std::string text(std::size_t number) { return std::to_string(number); }
std::string quoted(const std::string& name) { return "'" + name + "'"; }
std::string span(std::size_t begin, std::size_t end) {
  return "[" + text(begin) + ", " + text(end) + ")";
}

// ---- codelets ----------------------------------------------------------------------------------

std::vector<VertexKind>& kinds() {
  static std::vector<VertexKind> all;  // filled before main, in any order of files
  return all;
}

bool add_kind(const VertexKind& kind) {
  kinds().push_back(kind);
  return true;
}

// ---- what a graph has --------------------------------------------------------------------------

// Elements [begin, end) of a variable on one tile: one region of that tile's memory.
struct Region {
  std::size_t begin, end;
  unsigned tile;
};

struct Variable {
  std::string name;
  const char* type;
  unsigned bytes;
  std::size_t elements;
  std::vector<Region> regions;
};

struct Connected {
  bool set = false;
  Range range{};                  // of a vector
  unsigned char value[8] = {};    // of a scalar
};

struct Node {
  const VertexKind* kind;
  unsigned set;
  unsigned tile = nowhere;
  Bytes cycles = 0;
  std::vector<Connected> fields;
};

struct Set {
  std::string name;
  std::vector<unsigned> vertices;
};

struct Stream {
  std::string handle;
  const char* type;
  std::size_t elements;
  std::size_t bytes;  // of one transfer
  bool to_device;
};

struct Machine {
  poplar::Target target;  // of one replica
  unsigned replicas = 1;
  bool has_codelets = false;
  std::vector<Variable> variables;
  std::vector<Node> vertices;
  std::vector<Set> sets;
  std::vector<Stream> streams;
  std::vector<std::pair<std::string, Tensor>> writes, reads;

  std::string vertex_text(unsigned id) const {
    const Node& node = vertices[id];
    std::string where = node.tile == nowhere ? "" : ", tile " + text(node.tile);
    return "vertex " + text(id) + " (" + node.kind->name + " of compute set " +
           quoted(sets[node.set].name) + where + ")";
  }

  std::string range_text(const Range& range) const {
    return "elements " + span(range.begin, range.begin + range.count) + " of variable " +
           quoted(variables[range.variable].name);
  }

  const Region& region_of(unsigned variable, std::size_t element) const {
    const std::vector<Region>& regions = variables[variable].regions;
    auto after = std::upper_bound(
        regions.begin(), regions.end(), element,
        [](std::size_t at, const Region& region) { return at < region.begin; });
    return *(after - 1);
  }

  void check_owner(const Tensor& tensor, const char* where) const {
    if (tensor.standin_machine() != this)
      fail(std::string(where) + ": a tensor that is empty or of another graph");
  }
};

enum class StepKind { sequence, repeat, execute, copy, from_host, to_host, floating };

struct Step {
  StepKind kind = StepKind::sequence;
  std::string name;
  std::vector<std::shared_ptr<Step>> children;
  unsigned count = 1;  // of a repeat
  unsigned id = nowhere;  // of a compute set or a stream
  int traps = 0;  // floating-point exceptions that end the program from here on
  Tensor source, destination;

  static unsigned id_of(const poplar::ComputeSet& set) { return set.id_; }
  static unsigned id_of(const poplar::DataStream& stream) { return stream.id_; }
};

// ---- ranges ------------------------------------------------------------------------------------

void append(std::vector<Range>& ranges, const Range& piece) {
  if (piece.count == 0) return;
  if (!ranges.empty()) {
    Range& last = ranges.back();
    if (last.variable == piece.variable && last.begin + last.count == piece.begin) {
      last.count += piece.count;
      return;
    }
  }
  const std::size_t at = ranges.empty() ? 0 : ranges.back().at + ranges.back().count;
  ranges.push_back({at, piece.begin, piece.count, piece.variable});
}

std::size_t product(const std::vector<std::size_t>& shape, std::size_t from = 0) {
  std::size_t elements = 1;
  for (std::size_t axis = from; axis < shape.size(); ++axis) elements *= shape[axis];
  return elements;
}

// Calls `take(source variable, its element, destination variable, its element, count)` for the
// longest runs of both lists, which have as many elements.
template <class Take>
void zip(const std::vector<Range>& from, const std::vector<Range>& to, Take take) {
  std::size_t i = 0, j = 0, done_i = 0, done_j = 0;
  while (i < from.size() && j < to.size()) {
    const std::size_t count = std::min(from[i].count - done_i, to[j].count - done_j);
    take(from[i].variable, from[i].begin + done_i, to[j].variable, to[j].begin + done_j, count);
    done_i += count;
    done_j += count;
    if (done_i == from[i].count) ++i, done_i = 0;
    if (done_j == to[j].count) ++j, done_j = 0;
  }
}

bool by_place(const Range& a, const Range& b) {
  return a.variable != b.variable ? a.variable < b.variable : a.begin < b.begin;
}

std::vector<Range> sorted(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end(), by_place);
  return ranges;
}

// ---- checks of a graph -------------------------------------------------------------------------

void check_mapping(Machine& machine) {
  for (Variable& variable : machine.variables) {
    std::vector<Region>& regions = variable.regions;
    std::sort(regions.begin(), regions.end(),
              [](const Region& a, const Region& b) { return a.begin < b.begin; });
    std::vector<Region> merged;
    std::size_t next = 0;
    for (const Region& region : regions) {
      if (region.begin > next) break;
      if (region.begin < next)
        fail("variable " + quoted(variable.name) + ": element " + text(region.begin) +
             " is mapped to more than one tile (or twice), the last time to tile " +
             text(region.tile));
      next = region.end;
      if (!merged.empty() && merged.back().tile == region.tile) merged.back().end = region.end;
      else merged.push_back(region);
    }
    if (next < variable.elements)
      fail("variable " + quoted(variable.name) + ": element " + text(next) +
           " is mapped to no tile");
    regions.swap(merged);
  }
}

void check_field(const Machine& machine, unsigned id, std::size_t place) {
  const Node& node = machine.vertices[id];
  const Field& field = node.kind->fields[place];
  const Connected& connected = node.fields[place];
  const std::string who = machine.vertex_text(id) + ": field " + quoted(field.name);
  if (!connected.set)
    fail(who + (field.access == Access::scalar ? " has no value" : " is not connected"));
  if (field.access == Access::scalar) return;
  const Range& range = connected.range;
  const Region& region = machine.region_of(range.variable, range.begin);
  if (region.tile != node.tile)
    fail(who + ": " + machine.range_text(range) + " lie on tile " + text(region.tile));
  if (range.begin + range.count > region.end)
    fail(who + ": " + machine.range_text(range) + " lie on more than one tile");
  if ((range.begin - region.begin) * field.bytes % field.alignment)
    fail(who + ": " + machine.range_text(range) + " do not start at a multiple of " +
         text(field.alignment) + " bytes");
}

struct Use {
  unsigned variable, vertex;
  std::size_t begin, end;  // bytes
};

void check_races(const Machine& machine, const Set& set) {
  std::vector<Use> writes, reads;
  for (unsigned id : set.vertices) {
    const Node& node = machine.vertices[id];
    for (std::size_t place = 0; place < node.fields.size(); ++place) {
      const Field& field = node.kind->fields[place];
      if (field.access == Access::scalar) continue;
      const Range& range = node.fields[place].range;
      const Use use{range.variable, id, range.begin * field.bytes,
                    (range.begin + range.count) * field.bytes};
      (field.access == Access::input ? reads : writes).push_back(use);
    }
  }
  auto before = [](const Use& a, const Use& b) {
    return a.variable != b.variable ? a.variable < b.variable : a.begin < b.begin;
  };
  auto who = [&](const Use& a, const Use& b) {
    return machine.vertex_text(a.vertex) + " and " + machine.vertex_text(b.vertex);
  };
  std::sort(writes.begin(), writes.end(), before);
  for (std::size_t i = 1; i < writes.size(); ++i) {
    const Use &a = writes[i - 1], &b = writes[i];
    if (a.variable != b.variable) continue;
    const Variable& variable = machine.variables[a.variable];
    const std::string where = "variable " + quoted(variable.name);
    if (b.begin < a.end) fail(who(a, b) + " write the same elements of " + where);
    const Region& region = machine.region_of(a.variable, b.begin / variable.bytes);
    const std::size_t start = region.begin * variable.bytes;
    if (a.end <= start || a.vertex == b.vertex) continue;
    // A write of less than a word reads the word, changes it and writes it back.
    if ((b.begin - start) / 4 <= (a.end - 1 - start) / 4)
      fail(who(a, b) + " write to the same 32-bit word of " + where);
  }
  for (const Use& read : reads) {
    auto write = std::lower_bound(writes.begin(), writes.end(), read, before);
    if (write != writes.begin() && (write - 1)->variable == read.variable &&
        (write - 1)->end > read.begin)
      --write;
    for (; write != writes.end() && write->variable == read.variable && write->begin < read.end;
         ++write)
      if (write->vertex != read.vertex)
        fail(who(read, *write) + ": the first reads what the second writes, in variable " +
             quoted(machine.variables[read.variable].name));
  }
}

struct Usage {
  std::vector<Bytes> variables, vertices, vertex_count;
};

Bytes vertex_bytes(const VertexKind& kind) {
  Bytes bytes = 0;
  for (std::size_t place = 0; place < kind.field_count; ++place) {
    const Bytes slot = kind.fields[place].slot, whole = std::min<Bytes>(slot, 4);
    bytes = (bytes + whole - 1) / whole * whole + slot;
  }
  return (bytes + 3) / 4 * 4 + 8;  // and what starts it: its code's address and its own
}

Usage check_memory(const Machine& machine) {
  const unsigned tiles = machine.target.getNumTiles();
  Usage usage{std::vector<Bytes>(tiles), std::vector<Bytes>(tiles), std::vector<Bytes>(tiles)};
  for (const Variable& variable : machine.variables)
    for (const Region& region : variable.regions)
      usage.variables[region.tile] += ((region.end - region.begin) * variable.bytes + 7) / 8 * 8;
  for (const Node& node : machine.vertices) {
    usage.vertices[node.tile] += vertex_bytes(*node.kind);
    ++usage.vertex_count[node.tile];
  }
  for (unsigned tile = 0; tile < tiles; ++tile) {
    const Bytes bytes = usage.variables[tile] + usage.vertices[tile];
    if (bytes > machine.target.getBytesPerTile())
      fail("tile " + text(tile) + ": " + text(usage.variables[tile]) + " bytes of variables and " +
           text(usage.vertices[tile]) + " of vertices; it has " +
           text(machine.target.getBytesPerTile()));
  }
  return usage;
}

Usage check_graph(Machine& machine) {
  check_mapping(machine);
  for (unsigned id = 0; id < machine.vertices.size(); ++id) {
    if (machine.vertices[id].tile == nowhere) fail(machine.vertex_text(id) + " is on no tile");
    for (std::size_t place = 0; place < machine.vertices[id].fields.size(); ++place)
      check_field(machine, id, place);
  }
  for (const Set& set : machine.sets) check_races(machine, set);
  return check_memory(machine);
}

// ---- copies ------------------------------------------------------------------------------------

std::string copy_text(const Step& step) { return "copy " + quoted(step.name); }

void check_written_once(const Machine& machine, const Step& step) {
  const std::vector<Range> to = sorted(step.destination.standin_ranges());
  for (std::size_t i = 1; i < to.size(); ++i)
    if (to[i - 1].variable == to[i].variable && to[i - 1].begin + to[i - 1].count > to[i].begin)
      fail(copy_text(step) + " writes element " + text(to[i].begin) + " of variable " +
           quoted(machine.variables[to[i].variable].name) + " twice");
}

void check_disjoint(const Machine& machine, const Step& step) {
  const std::vector<Range> from = sorted(step.source.standin_ranges());
  const std::vector<Range> to = sorted(step.destination.standin_ranges());
  std::size_t first = 0;
  for (const Range& read : from) {
    // Ranges of a source may overlap, but they begin in order; those of a destination do not.
    while (first < to.size() &&
           (to[first].variable < read.variable ||
            (to[first].variable == read.variable &&
             to[first].begin + to[first].count <= read.begin)))
      ++first;
    if (first < to.size() && to[first].variable == read.variable &&
        to[first].begin < read.begin + read.count)
      fail(copy_text(step) + " reads and writes element " +
           text(std::max(to[first].begin, read.begin)) + " of variable " +
           quoted(machine.variables[read.variable].name));
  }
}

struct Traffic {
  Bytes bytes = 0;         // of the whole value
  Bytes received = 0;      // by tiles from other tiles
  Bytes received_max = 0;  // by the tile that receives most
  Bytes sent = 0;          // by tiles; once, however many tiles receive it
  Bytes sent_max = 0;
  Bytes ipu_received = 0;  // of `received`, what comes from another IPU
  Bytes ipu_sent = 0;      // once for each IPU that receives it

  void add(const Traffic& other, Bytes times) {
    bytes += times * other.bytes;
    received += times * other.received;
    received_max += times * other.received_max;
    sent += times * other.sent;
    sent_max += times * other.sent_max;
    ipu_received += times * other.ipu_received;
    ipu_sent += times * other.ipu_sent;
  }
};

struct Sent {
  unsigned receiver, variable, tile;  // receiver: an IPU, or 0 for any
  std::size_t begin, end;
};

// Calls `count(piece)` for what is left of the pieces when none is counted twice.
template <class Count>
void union_of(std::vector<Sent>& pieces, Count count) {
  std::sort(pieces.begin(), pieces.end(), [](const Sent& a, const Sent& b) {
    if (a.receiver != b.receiver) return a.receiver < b.receiver;
    return a.variable != b.variable ? a.variable < b.variable : a.begin < b.begin;
  });
  const Sent* last = nullptr;
  std::size_t done = 0;
  for (const Sent& piece : pieces) {
    if (!last || last->receiver != piece.receiver || last->variable != piece.variable) done = 0;
    last = &piece;
    if (piece.end > done) count(piece.tile, piece.end - std::max(piece.begin, done));
    done = std::max(done, piece.end);
  }
}

Traffic traffic_of(const Machine& machine, const Step& step) {
  const unsigned tiles = machine.target.getNumTiles(), per_ipu = machine.target.getTilesPerIPU();
  const unsigned size = step.source.elementType().standin_bytes();
  Traffic traffic;
  std::vector<Bytes> received(tiles), sent(tiles);
  std::vector<Sent> leaving, leaving_ipu;
  auto moved = [&](unsigned from, std::size_t i, unsigned to, std::size_t j, std::size_t count) {
    traffic.bytes += count * size;
    while (count) {
      const Region &a = machine.region_of(from, i), &b = machine.region_of(to, j);
      const std::size_t part = std::min(count, std::min(a.end - i, b.end - j));
      if (a.tile != b.tile) {
        received[b.tile] += part * size;
        leaving.push_back({0, from, a.tile, i, i + part});
        const unsigned ipu = b.tile / per_ipu;
        if (a.tile / per_ipu != ipu) {
          traffic.ipu_received += part * size;
          leaving_ipu.push_back({ipu, from, a.tile, i, i + part});
        }
      }
      i += part, j += part, count -= part;
    }
  };
  zip(step.source.standin_ranges(), step.destination.standin_ranges(), moved);
  union_of(leaving, [&](unsigned tile, std::size_t count) { sent[tile] += count * size; });
  union_of(leaving_ipu, [&](unsigned, std::size_t count) { traffic.ipu_sent += count * size; });
  for (unsigned tile = 0; tile < tiles; ++tile) {
    traffic.received += received[tile];
    traffic.sent += sent[tile];
    traffic.received_max = std::max(traffic.received_max, received[tile]);
    traffic.sent_max = std::max(traffic.sent_max, sent[tile]);
  }
  return traffic;
}

// ---- memory of a running engine ----------------------------------------------------------------

// Which elements of a variable have been written.
class Marks {
 public:
  explicit Marks(std::size_t elements) : words_((elements + 63) / 64) {}

  void set(std::size_t begin, std::size_t count) {
    each(begin, count, [&](std::size_t word, std::uint64_t mask) {
      words_[word] |= mask;
      return true;
    });
  }

  // The first element that is not marked, or the end.
  std::size_t missing(std::size_t begin, std::size_t count) const {
    std::size_t found = begin + count;
    each(begin, count, [&](std::size_t word, std::uint64_t mask) {
      const std::uint64_t unset = mask & ~words_[word];
      if (!unset) return true;
      std::size_t bit = 0;
      while (!(unset >> bit & 1)) ++bit;
      found = word * 64 + bit;
      return false;
    });
    return found;
  }

 private:
  template <class Visit>
  static void each(std::size_t begin, std::size_t count, Visit visit) {
    while (count) {
      const std::size_t low = begin % 64, part = std::min<std::size_t>(count, 64 - low);
      const std::uint64_t ones = part == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << part) - 1;
      if (!visit(begin / 64, ones << low)) return;
      begin += part, count -= part;
    }
  }
  std::vector<std::uint64_t> words_;
};

struct Move {
  unsigned char* to;
  const unsigned char* from;
  std::size_t bytes;
};

// Where a transfer of a stream comes from or goes to.
struct Connection {
  unsigned char *begin = nullptr, *end = nullptr, *next = nullptr;
  std::function<void(void*)> callback;
};

struct Replica {
  std::vector<std::unique_ptr<unsigned char[]>> memory;  // of every variable
  std::vector<Marks> written;
  std::vector<void*> vertices;
  std::vector<Connection> streams;
  std::vector<std::vector<Move>> moves;  // of every copy
  std::vector<bool> checked;             // every operation: it has run, so all it reads is written
};

struct Operation {
  const Step* step;
  std::vector<unsigned> children;
  unsigned copy = nowhere;  // its place in `copies` and in a replica's `moves`
};

struct CopyReport {
  const Step* step;
  Traffic traffic;
  Bytes executed = 0;
};

struct SetReport {
  Bytes executed = 0, cycles_max = 0, vertices_max = 0;
};

const Node* running = nullptr;
const Machine* running_in = nullptr;

void outside(const char* field, std::size_t index, std::size_t count) {
  const std::string who =
      running ? running_in->vertex_text(static_cast<unsigned>(running - &running_in->vertices[0]))
              : "a vertex";
  fail(who + ": field " + quoted(field) + ": element " + text(index) + " of " + text(count));
}

struct Executor {
  std::shared_ptr<Machine> machine;
  std::vector<std::shared_ptr<Step>> programs;  // kept alive
  std::vector<unsigned> starts;                 // operation of every program
  std::vector<Operation> operations;
  std::unordered_map<const Step*, unsigned> known;
  std::vector<CopyReport> copies;
  std::vector<SetReport> sets;
  std::vector<Replica> replicas;
  Usage usage;
  bool loaded = false, backwards = false;
  int traps = 0;
  std::vector<unsigned char> buffer;  // of one transfer

  Executor(std::shared_ptr<Machine> given, const std::vector<poplar::program::Program>& list)
      : machine(std::move(given)), replicas(machine->replicas) {
    usage = check_graph(*machine);
    const char* order = std::getenv("SNNIR_IPU_ORDER");
    backwards = order && std::string(order) == "reverse";
    count_cycles();
    for (Replica& replica : replicas) allocate(replica);
    for (const poplar::program::Program& program : list) {
      programs.push_back(program.standin_step());
      starts.push_back(compile(*program.standin_step()));
    }
    for (Replica& replica : replicas) replica.checked.resize(operations.size());
  }

  ~Executor() {
    if (const char* path = std::getenv("SNNIR_IPU_REPORT")) report(path);
    for (Replica& replica : replicas)
      for (std::size_t id = 0; id < replica.vertices.size(); ++id)
        machine->vertices[id].kind->destroy(replica.vertices[id]);
  }

  void count_cycles() {
    sets.resize(machine->sets.size());
    std::vector<Bytes> cycles(machine->target.getNumTiles()), vertices(cycles.size());
    for (std::size_t id = 0; id < sets.size(); ++id) {
      for (unsigned vertex : machine->sets[id].vertices) {
        const Node& node = machine->vertices[vertex];
        sets[id].cycles_max = std::max(sets[id].cycles_max, cycles[node.tile] += node.cycles);
        sets[id].vertices_max = std::max(sets[id].vertices_max, ++vertices[node.tile]);
      }
      for (unsigned vertex : machine->sets[id].vertices)
        cycles[machine->vertices[vertex].tile] = vertices[machine->vertices[vertex].tile] = 0;
    }
  }

  void allocate(Replica& replica) {
    for (const Variable& variable : machine->variables) {
      const std::size_t bytes = variable.elements * variable.bytes;
      replica.memory.emplace_back(new unsigned char[std::max<std::size_t>(bytes, 1)]);
      std::memset(replica.memory.back().get(), 0xff, bytes);  // a NaN as float, -1 as integer
      replica.written.emplace_back(variable.elements);
    }
    replica.streams.resize(machine->streams.size());
    for (const Node& node : machine->vertices) replica.vertices.push_back(create(replica, node));
  }

  unsigned char* address(Replica& replica, unsigned variable, std::size_t element) const {
    return replica.memory[variable].get() + element * machine->variables[variable].bytes;
  }

  void* create(Replica& replica, const Node& node) const {
    void* vertex = node.kind->create();
    for (std::size_t place = 0; place < node.fields.size(); ++place) {
      const Field& field = node.kind->fields[place];
      Connected connected = node.fields[place];
      void* data = field.access == Access::scalar
                       ? static_cast<void*>(connected.value)
                       : address(replica, connected.range.variable, connected.range.begin);
      field.set(vertex, data, connected.range.count, field.name);
    }
    return vertex;
  }

  // ---- from programs to operations

  unsigned compile(const Step& step) {
    auto found = known.find(&step);
    if (found != known.end()) return found->second;
    Operation operation{&step, {}};
    for (const std::shared_ptr<Step>& child : step.children)
      operation.children.push_back(compile(*child));
    if (step.kind == StepKind::execute && step.id >= machine->sets.size())
      fail("Execute of a compute set that is not of this graph");
    if (step.kind == StepKind::copy) operation.copy = compile_copy(step);
    if (step.kind == StepKind::from_host) operation.copy = compile_stream(step, step.destination);
    if (step.kind == StepKind::to_host) operation.copy = compile_stream(step, step.source);
    operations.push_back(std::move(operation));
    const unsigned id = static_cast<unsigned>(operations.size() - 1);
    known.emplace(&step, id);
    return id;
  }

  unsigned add_copy(const Step& step, Traffic traffic) {
    copies.push_back({&step, traffic});
    for (Replica& replica : replicas) replica.moves.emplace_back();
    return static_cast<unsigned>(copies.size() - 1);
  }

  unsigned compile_copy(const Step& step) {
    machine->check_owner(step.source, "Copy");
    machine->check_owner(step.destination, "Copy");
    check_written_once(*machine, step);
    check_disjoint(*machine, step);
    const unsigned id = add_copy(step, traffic_of(*machine, step));
    const unsigned size = step.source.elementType().standin_bytes();
    for (Replica& replica : replicas) {
      std::vector<Move>& moves = replica.moves[id];
      auto take = [&](unsigned from, std::size_t i, unsigned to, std::size_t j,
                      std::size_t count) {
        moves.push_back({address(replica, to, j), address(replica, from, i), count * size});
      };
      zip(step.source.standin_ranges(), step.destination.standin_ranges(), take);
    }
    return id;
  }

  unsigned compile_stream(const Step& step, const Tensor& tensor) {
    machine->check_owner(tensor, "Copy");
    if (step.id >= machine->streams.size()) fail("Copy with a stream that is not of this graph");
    const Stream& stream = machine->streams[step.id];
    const bool to_device = step.kind == StepKind::from_host;
    const std::string who = "stream " + quoted(stream.handle);
    if (stream.to_device != to_device)
      fail(who + " is copied " + (to_device ? "from" : "to") + ", but it leads the other way");
    if (stream.type != tensor.elementType().standin_name() ||
        stream.elements != tensor.numElements())
      fail(who + " has " + text(stream.elements) + " elements of " + stream.type +
           ", the tensor copied " + text(tensor.numElements()) + " of " +
           tensor.elementType().standin_name());
    if (to_device) check_written_once(*machine, step);
    Traffic traffic;
    traffic.bytes = stream.bytes;
    const unsigned id = add_copy(step, traffic);
    for (Replica& replica : replicas)
      for (const Range& range : tensor.standin_ranges()) {
        unsigned char* place = address(replica, range.variable, range.begin);
        const std::size_t bytes = range.count * tensor.elementType().standin_bytes();
        replica.moves[id].push_back({place, place, bytes});
      }
    return id;
  }

  // ---- running

  void run(unsigned program) {
    if (!loaded) fail("Engine::run before Engine::load");
    if (program >= starts.size()) fail("Engine::run: there is no program " + text(program));
    running_in = machine.get();
    for (Replica& replica : replicas) run(replica, starts[program]);
    running = nullptr;
  }

  void run(Replica& replica, unsigned id) {
    const Operation& operation = operations[id];
    const Step& step = *operation.step;
    switch (step.kind) {
      case StepKind::sequence:
      case StepKind::repeat:
        for (unsigned time = 0; time < step.count; ++time)
          for (unsigned child : operation.children) run(replica, child);
        return;
      case StepKind::floating:
        traps = step.traps;
        return;
      case StepKind::execute:
        execute(replica, id);
        break;
      case StepKind::copy:
        copy(replica, id);
        break;
      case StepKind::from_host:
        from_host(replica, id);
        break;
      case StepKind::to_host:
        to_host(replica, id);
        break;
    }
    replica.checked[id] = true;
  }

  void check_written(const Replica& replica, const Range& range, const std::string& who) const {
    const std::size_t missing = replica.written[range.variable].missing(range.begin, range.count);
    if (missing < range.begin + range.count)
      fail(who + " reads element " + text(missing) + " of variable " +
           quoted(machine->variables[range.variable].name) + ", which was never written");
  }

  void check_written(const Replica& replica, const Tensor& tensor, const std::string& who) const {
    for (const Range& range : tensor.standin_ranges()) check_written(replica, range, who);
  }

  static void mark(Replica& replica, const Range& range) {
    replica.written[range.variable].set(range.begin, range.count);
  }

  static void mark(Replica& replica, const Tensor& tensor) {
    for (const Range& range : tensor.standin_ranges()) mark(replica, range);
  }

  template <class Visit>
  void each_field(const Set& set, Visit visit) const {
    for (unsigned id : set.vertices) {
      const Node& node = machine->vertices[id];
      for (std::size_t place = 0; place < node.fields.size(); ++place)
        visit(id, node.kind->fields[place], node.fields[place].range);
    }
  }

  void check_set(Replica& replica, const Set& set) const {
    each_field(set, [&](unsigned id, const Field& field, const Range& range) {
      if (field.access != Access::input && field.access != Access::inout) return;
      const std::size_t missing = replica.written[range.variable].missing(range.begin, range.count);
      if (missing < range.begin + range.count)
        check_written(replica, range,
                      machine->vertex_text(id) + ": field " + quoted(field.name));
    });
    each_field(set, [&](unsigned, const Field& field, const Range& range) {
      if (field.access == Access::output || field.access == Access::inout) mark(replica, range);
    });
  }

  void execute(Replica& replica, unsigned id) {
    const unsigned number = operations[id].step->id;
    const Set& set = machine->sets[number];
    if (!replica.checked[id]) check_set(replica, set);
    const std::size_t count = set.vertices.size();
    for (std::size_t i = 0; i < count; ++i)
      compute(replica, set.vertices[backwards ? count - 1 - i : i]);
    ++sets[number].executed;
  }

  void compute(Replica& replica, unsigned vertex) {
    running = &machine->vertices[vertex];
    if (traps) std::feclearexcept(FE_ALL_EXCEPT);
    if (!running->kind->compute(replica.vertices[vertex]))
      fail(machine->vertex_text(vertex) + ": compute() returned false");
    if (!traps) return;
    const int raised = std::fetestexcept(traps);
    if (!raised) return;
    fail(machine->vertex_text(vertex) + ": a floating-point exception, " +
         (raised & FE_INVALID ? "invalid operation"
                              : raised & FE_DIVBYZERO ? "division by zero" : "overflow"));
  }

  void copy(Replica& replica, unsigned id) {
    const Step& step = *operations[id].step;
    if (!replica.checked[id]) {
      check_written(replica, step.source, copy_text(step));
      mark(replica, step.destination);
    }
    for (const Move& move : replica.moves[operations[id].copy]) {
      if (move.bytes == 4) std::memcpy(move.to, move.from, 4);  // inline, and not a call
      else std::memcpy(move.to, move.from, move.bytes);
    }
    ++copies[operations[id].copy].executed;
  }

  Connection& connection(Replica& replica, unsigned stream) {
    Connection& connection = replica.streams[stream];
    if (!connection.begin && !connection.callback)
      fail("stream " + quoted(machine->streams[stream].handle) + " is not connected" +
           of_replica(replica));
    return connection;
  }

  std::string of_replica(const Replica& replica) const {
    return replicas.size() == 1 ? "" : " for replica " + text(&replica - &replicas[0]);
  }

  unsigned char* advance(Connection& connection, std::size_t bytes) {
    unsigned char* at = connection.next;
    connection.next += bytes;
    if (connection.next == connection.end) connection.next = connection.begin;
    return at;
  }

  void from_host(Replica& replica, unsigned id) {
    const Step& step = *operations[id].step;
    const std::size_t bytes = machine->streams[step.id].bytes;
    Connection& host = connection(replica, step.id);
    buffer.resize(bytes);
    if (host.callback) host.callback(buffer.data());
    const unsigned char* from = host.callback ? buffer.data() : advance(host, bytes);
    for (const Move& move : replica.moves[operations[id].copy]) {
      std::memcpy(move.to, from, move.bytes);
      from += move.bytes;
    }
    if (!replica.checked[id]) mark(replica, step.destination);
    ++copies[operations[id].copy].executed;
  }

  void to_host(Replica& replica, unsigned id) {
    const Step& step = *operations[id].step;
    const std::size_t bytes = machine->streams[step.id].bytes;
    if (!replica.checked[id]) check_written(replica, step.source, copy_text(step));
    Connection& host = connection(replica, step.id);
    buffer.resize(bytes);
    unsigned char* to = host.callback ? buffer.data() : advance(host, bytes);
    for (const Move& move : replica.moves[operations[id].copy]) {
      std::memcpy(to, move.from, move.bytes);
      to += move.bytes;
    }
    if (host.callback) host.callback(buffer.data());
    ++copies[operations[id].copy].executed;
  }

  // ---- what the host connects, writes and reads

  unsigned stream_of(const std::string& handle) const {
    for (std::size_t id = 0; id < machine->streams.size(); ++id)
      if (machine->streams[id].handle == handle) return static_cast<unsigned>(id);
    fail("there is no stream " + quoted(handle));
  }

  Connection& only_connection(unsigned stream) {
    if (replicas.size() > 1)
      fail("stream " + quoted(machine->streams[stream].handle) +
           ": a graph with replicas needs a callback for each of them");
    return replicas[0].streams[stream];
  }

  const Tensor& host_tensor(const std::vector<std::pair<std::string, Tensor>>& tensors,
                            const std::string& handle, std::size_t bytes) const {
    if (!loaded) fail("handle " + quoted(handle) + " is used before Engine::load");
    if (replicas.size() > 1)
      fail("handle " + quoted(handle) + ": a graph with replicas is filled through streams");
    for (const std::pair<std::string, Tensor>& entry : tensors) {
      if (entry.first != handle) continue;
      const std::size_t wanted =
          entry.second.numElements() * entry.second.elementType().standin_bytes();
      if (bytes != wanted)
        fail("handle " + quoted(handle) + ": the host's buffer has " + text(bytes) +
             " bytes, the tensor " + text(wanted));
      return entry.second;
    }
    fail("there is no handle " + quoted(handle) + " for this direction");
  }

  // ---- accounting

  struct Total {
    Traffic traffic;
    Bytes copies = 0, host_bytes = 0, compute_sets = 0, cycles = 0;
  };

  void add(Total& total, unsigned id, Bytes times) const {
    const Operation& operation = operations[id];
    const Step& step = *operation.step;
    for (unsigned child : operation.children) add(total, child, times * step.count);
    if (step.kind == StepKind::execute) {
      total.compute_sets += times;
      total.cycles += times * sets[step.id].cycles_max;
    } else if (step.kind == StepKind::copy) {
      total.copies += times;
      total.traffic.add(copies[operation.copy].traffic, times);
    } else if (operation.copy != nowhere) {
      total.host_bytes += times * copies[operation.copy].traffic.bytes;
    }
  }

  void report(const char* path) const;
};

// ---- the report --------------------------------------------------------------------------------

std::string json(const std::string& name) {
  std::string escaped = "\"";
  for (char letter : name) {
    if (letter == '"' || letter == '\\') escaped += '\\';
    escaped += static_cast<unsigned char>(letter) < 0x20 ? ' ' : letter;
  }
  return escaped + "\"";
}

std::string json(const char* name, Bytes value) { return json(name) + ": " + text(value); }

std::string json(const char* name, const std::vector<Bytes>& values) {
  std::string list = json(name) + ": [";
  for (std::size_t i = 0; i < values.size(); ++i) list += (i ? ", " : "") + text(values[i]);
  return list + "]";
}

std::string json(const Traffic& traffic) {
  return json("bytes", traffic.bytes) + ", " + json("received", traffic.received) + ", " +
         json("received_max", traffic.received_max) + ", " + json("sent", traffic.sent) + ", " +
         json("sent_max", traffic.sent_max) + ", " + json("ipu_received", traffic.ipu_received) +
         ", " + json("ipu_sent", traffic.ipu_sent);
}

void Executor::report(const char* path) const {
  std::FILE* file = std::fopen(path, "w");
  if (!file) fail(std::string("cannot write the report ") + path);
  auto put = [&](const std::string& part) { std::fputs(part.c_str(), file); };
  auto list = [&](const char* name, const std::vector<std::string>& entries) {
    put(",\n" + json(name) + ": [");
    for (std::size_t i = 0; i < entries.size(); ++i) put((i ? ",\n  {" : "\n  {") + entries[i] + "}");
    put("]");
  };
  const poplar::Target& target = machine->target;
  put("{" + json("tiles", target.getNumTiles()) + ", " +
      json("tiles_per_ipu", target.getTilesPerIPU()) + ", " + json("ipus", target.getNumIPUs()) +
      ", " + json("replicas", replicas.size()) + ", " +
      json("bytes_per_tile", target.getBytesPerTile()));
  put(",\n" + json("variable_bytes", usage.variables));
  put(",\n" + json("vertex_bytes", usage.vertices));
  put(",\n" + json("vertices", usage.vertex_count));
  std::vector<std::string> entries;
  for (std::size_t id = 0; id < sets.size(); ++id)
    entries.push_back(json("name") + ": " + json(machine->sets[id].name) + ", " +
                      json("vertices", machine->sets[id].vertices.size()) + ", " +
                      json("vertices_max", sets[id].vertices_max) + ", " +
                      json("cycles_max", sets[id].cycles_max) + ", " +
                      json("executed", sets[id].executed));
  list("compute_sets", entries);
  entries.clear();
  for (const CopyReport& copy : copies) {
    const char* kind = copy.step->kind == StepKind::copy        ? "exchange"
                       : copy.step->kind == StepKind::from_host ? "from host"
                                                                : "to host";
    entries.push_back(json("name") + ": " + json(copy.step->name) + ", " + json("kind") + ": " +
                      json(std::string(kind)) + ", " + json(copy.traffic) + ", " +
                      json("executed", copy.executed));
  }
  list("copies", entries);
  entries.clear();
  for (const Operation& operation : operations) {
    if (operation.step->kind != StepKind::repeat) continue;
    Total total;
    for (unsigned child : operation.children) add(total, child, 1);
    entries.push_back(json("name") + ": " + json(operation.step->name) + ", " +
                      json("count", operation.step->count) + ", " + json(total.traffic) + ", " +
                      json("copies", total.copies) + ", " + json("host_bytes", total.host_bytes) +
                      ", " + json("compute_sets", total.compute_sets) + ", " +
                      json("cycles", total.cycles));
  }
  list("repeats", entries);
  put("}\n");
  std::fclose(file);
}

}  // namespace snnir_standin

// ---- the names of Poplar -----------------------------------------------------------------------

namespace poplar {

using namespace snnir_standin;

const Type FLOAT("float", 4), HALF("half", 2), INT("int", 4), UNSIGNED_INT("unsigned int", 4),
    UNSIGNED_SHORT("unsigned short", 2), SHORT("short", 2), SIGNED_CHAR("signed char", 1),
    UNSIGNED_CHAR("unsigned char", 1), LONGLONG("long long", 8);

static unsigned from_environment(const char* name, unsigned otherwise) {
  const char* given = std::getenv(name);
  if (!given) return otherwise;
  const long value = std::strtol(given, nullptr, 10);
  if (value < 1 || value > static_cast<long>(otherwise))
    fail(std::string(name) + " is not a number from 1 to " + text(otherwise));
  return static_cast<unsigned>(value);
}

Device::Device(unsigned ipus) : attached_(std::make_shared<bool>(false)) {
  target_.ipus_ = ipus;
  target_.tiles_ = from_environment("SNNIR_IPU_TILES", 1472);
  target_.bytes_ = from_environment("SNNIR_IPU_BYTES", 638976);
}

bool Device::attach() const {
  if (!attached_ || *attached_) return false;
  *attached_ = true;
  return true;
}

void Device::detach() const {
  if (attached_) *attached_ = false;
}

// IPUs come in groups of powers of two.
std::vector<Device> DeviceManager::getDevices(TargetType, unsigned requiredNumIPUs) const {
  if (!requiredNumIPUs || requiredNumIPUs > 64 || requiredNumIPUs & (requiredNumIPUs - 1)) return {};
  return {Device(requiredNumIPUs)};
}

// ---- tensors

const std::vector<Range>& Tensor::standin_ranges() const {
  static const std::vector<Range> none;
  return ranges_ ? *ranges_ : none;
}

Tensor Tensor::with(std::vector<Range> ranges, std::vector<std::size_t> shape) const {
  Tensor made(*this);
  made.elements_ = product(shape);
  made.shape_ = std::move(shape);
  made.ranges_ = std::make_shared<const std::vector<Range>>(std::move(ranges));
  return made;
}

void Tensor::take(std::size_t begin, std::size_t end, std::vector<Range>& into) const {
  if (begin >= end) return;
  const std::vector<Range>& ranges = *ranges_;
  auto range = std::upper_bound(ranges.begin(), ranges.end(), begin,
                                [](std::size_t at, const Range& r) { return at < r.at; }) -
               1;
  while (begin < end) {
    const std::size_t skip = begin - range->at;
    const std::size_t count = std::min(range->count - skip, end - begin);
    append(into, {0, range->begin + skip, count, range->variable});
    begin += count;
    ++range;
  }
}

Tensor Tensor::operator[](std::size_t index) const {
  if (shape_.empty() || index >= shape_[0])
    fail("Tensor[" + text(index) + "]: there is no such row");
  Tensor row = slice(index, index + 1);
  row.shape_.erase(row.shape_.begin());
  return row;
}

Tensor Tensor::slice(std::size_t begin, std::size_t end, unsigned dimension) const {
  if (dimension >= shape_.size() || begin > end || end > shape_[dimension])
    fail("Tensor::slice" + span(begin, end) + " of dimension " + text(dimension) +
         " is not in the tensor");
  const std::size_t inner = product(shape_, dimension + 1), whole = shape_[dimension] * inner;
  std::vector<Range> ranges;
  for (std::size_t start = 0; start < elements_; start += whole)
    take(start + begin * inner, start + end * inner, ranges);
  std::vector<std::size_t> shape(shape_);
  shape[dimension] = end - begin;
  return with(std::move(ranges), std::move(shape));
}

Tensor Tensor::reshape(const std::vector<std::size_t>& shape) const {
  if (product(shape) != elements_)
    fail("Tensor::reshape of " + text(elements_) + " elements to " + text(product(shape)));
  Tensor made(*this);
  made.shape_ = shape;
  return made;
}

Tensor Tensor::flatten() const { return reshape({elements_}); }

Tensor Tensor::dimShuffle(const std::vector<unsigned>& permutation) const {
  const std::size_t rank = shape_.size();
  std::vector<unsigned> axes(permutation);
  std::sort(axes.begin(), axes.end());
  bool every = axes.size() == rank;
  for (std::size_t axis = 0; every && axis < rank; ++axis) every = axes[axis] == axis;
  if (!every) fail("Tensor::dimShuffle needs every dimension once");
  std::size_t moved = rank;  // dimensions from here on keep their places and move as one
  while (moved && permutation[moved - 1] == moved - 1) --moved;
  std::vector<std::size_t> shape, steps;
  for (unsigned axis : permutation) {
    shape.push_back(shape_[axis]);
    steps.push_back(product(shape_, axis + 1));
  }
  const std::size_t block = product(shape_, moved);
  std::vector<Range> ranges;
  std::vector<std::size_t> at(moved);
  for (std::size_t done = 0; done < elements_; done += block) {
    std::size_t start = 0;
    for (std::size_t axis = 0; axis < moved; ++axis) start += at[axis] * steps[axis];
    take(start, start + block, ranges);
    for (std::size_t axis = moved; axis-- > 0 && ++at[axis] == shape[axis];) at[axis] = 0;
  }
  return with(std::move(ranges), std::move(shape));
}

Tensor concat(const std::vector<Tensor>& parts, unsigned dimension) {
  if (parts.empty()) fail("concat of nothing");
  const Tensor& first = parts[0];
  std::vector<std::size_t> shape(first.shape_);
  if (dimension >= shape.size()) fail("concat: there is no dimension " + text(dimension));
  shape[dimension] = 0;
  for (const Tensor& part : parts) {
    if (part.machine_ != first.machine_ || part.type_name_ != first.type_name_)
      fail("concat of tensors of different types or graphs");
    std::vector<std::size_t> other(part.shape_);
    if (other.size() == shape.size()) other[dimension] = shape[dimension];
    if (other != shape) fail("concat: shapes differ in more than dimension " + text(dimension));
    shape[dimension] += part.shape_[dimension];
  }
  std::size_t outer = 1;
  for (unsigned axis = 0; axis < dimension; ++axis) outer *= shape[axis];
  std::vector<Range> ranges;
  for (std::size_t block = 0; block < outer; ++block)
    for (const Tensor& part : parts) {
      const std::size_t size = part.elements_ / outer;
      part.take(block * size, (block + 1) * size, ranges);
    }
  return first.with(std::move(ranges), std::move(shape));
}

// ---- graphs

FieldRef VertexRef::operator[](const std::string& field) const {
  FieldRef made;
  made.vertex_ = id_;
  made.name_ = field;
  return made;
}

Graph::Graph(const Target& target, replication_factor factor)
    : machine_(std::make_shared<Machine>()) {
  if (!factor.factor_ || target.getNumIPUs() % factor.factor_)
    fail("Graph: " + text(target.getNumIPUs()) + " IPUs are not a multiple of " +
         text(factor.factor_) + " replicas");
  machine_->target = target;
  machine_->target.ipus_ /= factor.factor_;
  machine_->replicas = factor.factor_;
}

const Target& Graph::getTarget() const { return machine_->target; }
unsigned Graph::getReplicationFactor() const { return machine_->replicas; }

void Graph::addCodelets(const std::string& path, CodeletFileType, const std::string&) {
  std::FILE* file = std::fopen(path.c_str(), "r");
  if (!file) fail("Graph::addCodelets: there is no file " + quoted(path));
  std::fclose(file);
  machine_->has_codelets = true;
}

Tensor Graph::addVariable(const Type& type, const std::vector<std::size_t>& shape,
                          const std::string& name) {
  const unsigned id = static_cast<unsigned>(machine_->variables.size());
  const std::size_t elements = product(shape);
  machine_->variables.push_back({name.empty() ? "variable " + text(id) : name,
                                 type.standin_name(), type.standin_bytes(), elements, {}});
  Tensor whole;
  whole.machine_ = machine_.get();
  whole.type_name_ = type.standin_name();
  whole.type_bytes_ = type.standin_bytes();
  std::vector<Range> ranges;
  append(ranges, {0, 0, elements, id});
  return whole.with(std::move(ranges), shape);
}

static void check_tile(const Machine& machine, unsigned tile, const std::string& what) {
  if (tile >= machine.target.getNumTiles())
    fail(what + " is mapped to tile " + text(tile) + "; there are " +
         text(machine.target.getNumTiles()));
}

void Graph::setTileMapping(const Tensor& tensor, unsigned tile) {
  machine_->check_owner(tensor, "Graph::setTileMapping");
  for (const Range& range : tensor.standin_ranges()) {
    Variable& variable = machine_->variables[range.variable];
    check_tile(*machine_, tile, "variable " + quoted(variable.name));
    variable.regions.push_back({range.begin, range.begin + range.count, tile});
  }
}

void Graph::setTileMapping(const VertexRef& vertex, unsigned tile) {
  check_tile(*machine_, tile, machine_->vertex_text(vertex.id_));
  machine_->vertices[vertex.id_].tile = tile;
}

ComputeSet Graph::addComputeSet(const std::string& name) {
  ComputeSet set;
  set.id_ = static_cast<unsigned>(machine_->sets.size());
  machine_->sets.push_back({name.empty() ? text(set.id_) : name, {}});
  return set;
}

VertexRef Graph::addVertex(ComputeSet set, const std::string& codelet) {
  if (set.id_ >= machine_->sets.size()) fail("Graph::addVertex: no compute set of this graph");
  const VertexKind* kind = nullptr;
  for (const VertexKind& known : kinds())
    if (codelet == known.name) kind = &known;
  if (!kind || !machine_->has_codelets)
    fail("Graph::addVertex: there is no codelet " + quoted(codelet) +
         (machine_->has_codelets ? "" : " before Graph::addCodelets"));
  VertexRef vertex;
  vertex.id_ = static_cast<unsigned>(machine_->vertices.size());
  machine_->sets[set.id_].vertices.push_back(vertex.id_);
  machine_->vertices.push_back({kind, set.id_, nowhere, 0, {}});
  machine_->vertices.back().fields.resize(kind->field_count);
  return vertex;
}

static std::size_t place_of(const Machine& machine, unsigned vertex, const std::string& name,
                            bool scalar) {
  const VertexKind& kind = *machine.vertices[vertex].kind;
  for (std::size_t place = 0; place < kind.field_count; ++place)
    if (name == kind.fields[place].name) {
      const std::string who = machine.vertex_text(vertex) + ": field " + quoted(name);
      if ((kind.fields[place].access == Access::scalar) != scalar)
        fail(who + (scalar ? " is connected, not set" : " is set, not connected"));
      if (machine.vertices[vertex].fields[place].set) fail(who + " has a value already");
      return place;
    }
  fail(machine.vertex_text(vertex) + " has no field " + quoted(name));
}

void Graph::connect(FieldRef field, const Tensor& tensor) {
  machine_->check_owner(tensor, "Graph::connect");
  const std::size_t place = place_of(*machine_, field.vertex_, field.name_, false);
  Node& node = machine_->vertices[field.vertex_];
  const std::string who = machine_->vertex_text(field.vertex_) + ": field " + quoted(field.name_);
  if (std::strcmp(node.kind->fields[place].type, tensor.elementType().standin_name()) != 0)
    fail(who + " is of " + node.kind->fields[place].type + ", the tensor of " +
         tensor.elementType().standin_name());
  const std::vector<Range>& ranges = tensor.standin_ranges();
  if (ranges.empty()) fail(who + " is connected to a tensor without elements");
  if (ranges.size() > 1)
    fail(who + ": " + machine_->range_text(ranges[0]) + " and " + machine_->range_text(ranges[1]) +
         " are not one piece of memory");
  node.fields[place].set = true;
  node.fields[place].range = ranges[0];
}

// A scalar must hold the value exactly.
template <class T, class V>
static bool store(const Field& field, V value, unsigned char* into) {
  if (std::strcmp(field.type, type_name<T>()) != 0) return false;
  const T stored = static_cast<T>(value);
  std::memcpy(into, &stored, sizeof stored);
  return static_cast<V>(stored) == value;
}

static bool store_whole(const Field& field, long long value, unsigned char* into) {
  if (store<float>(field, value, into)) return true;
  return store<int>(field, value, into) || store<unsigned>(field, value, into) ||
         store<unsigned short>(field, value, into) || store<short>(field, value, into) ||
         store<signed char>(field, value, into) || store<unsigned char>(field, value, into) ||
         store<long long>(field, value, into);
}

static void set_value(Machine& machine, unsigned vertex, const std::string& name, bool whole,
                      long long number, double real) {
  const std::size_t place = place_of(machine, vertex, name, true);
  Node& node = machine.vertices[vertex];
  const Field& field = node.kind->fields[place];
  Connected& connected = node.fields[place];
  if (!whole && std::trunc(real) == real && std::fabs(real) < 9.0e15 && !std::signbit(real)) {
    whole = true;
    number = static_cast<long long>(real);
  }
  connected.set = whole ? store_whole(field, number, connected.value)
                        : store<float>(field, real, connected.value);
  if (!connected.set)
    fail(machine.vertex_text(vertex) + ": field " + quoted(name) + " of " + field.type +
         " does not hold the value " + (whole ? std::to_string(number) : std::to_string(real)));
}

void Graph::set_real(const FieldRef& field, double value) {
  set_value(*machine_, field.vertex_, field.name_, false, 0, value);
}

void Graph::set_whole(const FieldRef& field, long long value) {
  set_value(*machine_, field.vertex_, field.name_, true, value, 0);
}

void Graph::setPerfEstimate(const VertexRef& vertex, std::uint64_t cycles, std::uint64_t) {
  machine_->vertices[vertex.id_].cycles = cycles;
}

DataStream Graph::add_stream(const std::string& handle, const Type& type, std::size_t elements,
                             bool to_device) {
  for (const Stream& stream : machine_->streams)
    if (stream.handle == handle) fail("there are two streams " + quoted(handle));
  DataStream made;
  made.id_ = static_cast<unsigned>(machine_->streams.size());
  machine_->streams.push_back(
      {handle, type.standin_name(), elements, elements * type.standin_bytes(), to_device});
  return made;
}

DataStream Graph::addHostToDeviceFIFO(const std::string& handle, const Type& type,
                                      std::size_t elements) {
  return add_stream(handle, type, elements, true);
}

DataStream Graph::addDeviceToHostFIFO(const std::string& handle, const Type& type,
                                      std::size_t elements) {
  return add_stream(handle, type, elements, false);
}

static void add_handle(std::vector<std::pair<std::string, Tensor>>& handles,
                       const std::string& handle, const Tensor& tensor) {
  for (const std::pair<std::string, Tensor>& entry : handles)
    if (entry.first == handle) fail("there are two handles " + quoted(handle));
  handles.emplace_back(handle, tensor);
}

void Graph::createHostWrite(const std::string& handle, const Tensor& tensor) {
  machine_->check_owner(tensor, "Graph::createHostWrite");
  add_handle(machine_->writes, handle, tensor);
}

void Graph::createHostRead(const std::string& handle, const Tensor& tensor) {
  machine_->check_owner(tensor, "Graph::createHostRead");
  add_handle(machine_->reads, handle, tensor);
}

// ---- programs

namespace program {

Program::Program() : step_(std::make_shared<Step>()) {}

Sequence::Sequence(std::initializer_list<Program> programs, const std::string& name) {
  step_->name = name;
  for (const Program& program : programs) add(program);
}

void Sequence::add(const Program& program) {
  if (step_.use_count() > 1) step_ = std::make_shared<Step>(*step_);  // someone has it as it was
  step_->children.push_back(program.standin_step());
}

static std::string tensor_name(const Tensor& tensor) {
  const std::vector<Range>& ranges = tensor.standin_ranges();
  if (!tensor.standin_machine() || ranges.empty()) return "nothing";
  return tensor.standin_machine()->variables[ranges[0].variable].name;
}

Copy::Copy(Tensor source, Tensor destination, bool, const std::string& name) {
  step_->kind = StepKind::copy;
  step_->name = name.empty() ? tensor_name(source) + " to " + tensor_name(destination) : name;
  if (source.elementType() != destination.elementType() ||
      source.shape() != destination.shape())
    fail(copy_text(*step_) + ": " + text(source.numElements()) + " elements of " +
         source.elementType().standin_name() + " to " + text(destination.numElements()) +
         " of " + destination.elementType().standin_name() + " (shapes must be equal too)");
  step_->source = std::move(source);
  step_->destination = std::move(destination);
}

Copy::Copy(const DataStream& stream, Tensor destination, bool, const std::string& name) {
  step_->kind = StepKind::from_host;
  step_->name = name.empty() ? "host to " + tensor_name(destination) : name;
  step_->id = Step::id_of(stream);
  step_->destination = std::move(destination);
}

Copy::Copy(Tensor source, const DataStream& stream, bool, const std::string& name) {
  step_->kind = StepKind::to_host;
  step_->name = name.empty() ? tensor_name(source) + " to host" : name;
  step_->id = Step::id_of(stream);
  step_->source = std::move(source);
}

Execute::Execute(ComputeSet set, const std::string& name) {
  step_->kind = StepKind::execute;
  step_->name = name;
  step_->id = Step::id_of(set);
}

Repeat::Repeat(unsigned count, const Program& body, const std::string& name) {
  step_->kind = StepKind::repeat;
  step_->name = name;
  step_->count = count;
  step_->children.push_back(body.standin_step());
}

}  // namespace program

// A program that does nothing but change what ends the program from there on.
namespace {
struct Floating : program::Program {
  explicit Floating(int traps) {
    step_->kind = StepKind::floating;
    step_->traps = traps;
  }
};
}  // namespace

void setFloatingPointBehaviour(Graph& graph, program::Sequence& sequence,
                               const FloatingPointBehaviour& behaviour, const std::string&) {
  if (behaviour.esr) setStochasticRounding(graph, sequence, true);
  sequence.add(Floating((behaviour.inv ? FE_INVALID : 0) | (behaviour.div0 ? FE_DIVBYZERO : 0) |
                        (behaviour.oflo ? FE_OVERFLOW : 0)));
}

void setStochasticRounding(Graph&, program::Sequence&, bool enable, const std::string&) {
  if (enable) fail("stochastic rounding gives other numbers in every run; it is not emulated");
}

// ---- engines

OptionFlags::OptionFlags(std::initializer_list<std::pair<std::string, std::string>> flags)
    : flags_(flags) {}

void OptionFlags::set(const std::string& key, const std::string& value) {
  flags_.emplace_back(key, value);
}

static void check_option(const std::string& key) {
  // Those that Graphcore's public programs use.
  static const char* const known[] = {
      "autoReport.all", "autoReport.directory", "autoReport.outputArchive",
      "autoReport.outputExecutionProfile", "autoReport.outputGraphProfile",
      "debug.allowOutOfMemory", "debug.floatPointOpException", "debug.instrument",
      "debug.instrumentCompute", "debug.instrumentControlFlow",
      "debug.instrumentExternalExchange", "debug.retainDebugInformation",
      "exchange.enablePrefetch", "exchange.streamBufferOverlap", "target.deterministicWorkers",
      "target.hostSyncTimeout", "target.saveArchive", "target.syncReplicasIndependently"};
  for (const char* name : known)
    if (key == name) return;
  fail("Engine: unknown option " + quoted(key));
}

Engine::Engine(const Graph& graph, const std::vector<program::Program>& programs,
               const OptionFlags& options) {
  for (const std::pair<std::string, std::string>& flag : options.flags_) check_option(flag.first);
  executor_ = std::make_unique<Executor>(graph.machine_, programs);
}

Engine::~Engine() = default;

void Engine::load(const Device& device) {
  const Machine& machine = *executor_->machine;
  if (!device.attached_ || !*device.attached_) fail("Engine::load: the device is not attached");
  if (device.getTarget().getNumIPUs() != machine.target.getNumIPUs() * machine.replicas)
    fail("Engine::load: the device has " + text(device.getTarget().getNumIPUs()) +
         " IPUs, the graph " + text(machine.target.getNumIPUs() * machine.replicas));
  executor_->loaded = true;
}

void Engine::run(unsigned program) { executor_->run(program); }

void Engine::connectStream(const std::string& handle, void* begin, void* end) {
  const unsigned id = executor_->stream_of(handle);
  const std::size_t bytes = executor_->machine->streams[id].bytes;
  Connection& connection = executor_->only_connection(id);
  connection = {};
  connection.begin = connection.next = static_cast<unsigned char*>(begin);
  connection.end = static_cast<unsigned char*>(end);
  const std::ptrdiff_t given = connection.end - connection.begin;
  if (!begin || given <= 0 || !bytes || static_cast<std::size_t>(given) % bytes)
    fail("stream " + quoted(handle) + ": a buffer of " + std::to_string(given) +
         " bytes is not a multiple of one transfer, " + text(bytes));
}

void Engine::connectStreamToCallback(const std::string& handle,
                                     std::function<void(void*)> callback) {
  Connection& connection = executor_->only_connection(executor_->stream_of(handle));
  connection = {};
  connection.callback = std::move(callback);
}

void Engine::connectStreamToCallback(const std::string& handle, unsigned replica,
                                     std::function<void(void*)> callback) {
  const unsigned id = executor_->stream_of(handle);
  if (replica >= executor_->replicas.size())
    fail("stream " + quoted(handle) + ": there is no replica " + text(replica));
  Connection& connection = executor_->replicas[replica].streams[id];
  connection = {};
  connection.callback = std::move(callback);
}

void Engine::writeTensor(const std::string& handle, const void* begin, const void* end) {
  const unsigned char* from = static_cast<const unsigned char*>(begin);
  const std::size_t bytes = static_cast<std::size_t>(static_cast<const unsigned char*>(end) - from);
  const Tensor& tensor = executor_->host_tensor(executor_->machine->writes, handle, bytes);
  Replica& replica = executor_->replicas[0];
  for (const Range& range : tensor.standin_ranges()) {
    const std::size_t size = range.count * tensor.elementType().standin_bytes();
    std::memcpy(executor_->address(replica, range.variable, range.begin), from, size);
    from += size;
  }
  Executor::mark(replica, tensor);
}

void Engine::readTensor(const std::string& handle, void* begin, void* end) {
  unsigned char* to = static_cast<unsigned char*>(begin);
  const std::size_t bytes = static_cast<std::size_t>(static_cast<unsigned char*>(end) - to);
  const Tensor& tensor = executor_->host_tensor(executor_->machine->reads, handle, bytes);
  Replica& replica = executor_->replicas[0];
  executor_->check_written(replica, tensor, "handle " + quoted(handle));
  for (const Range& range : tensor.standin_ranges()) {
    const std::size_t size = range.count * tensor.elementType().standin_bytes();
    std::memcpy(to, executor_->address(replica, range.variable, range.begin), size);
    to += size;
  }
}

}  // namespace poplar
