// What a graph has: variables, vertices, streams; and what tensors are made of.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "poplar_standin.hpp"
#include "vertex_standin.hpp"

namespace snnir_standin {

using poplar::Tensor;
using Bytes = std::uint64_t;

constexpr unsigned nowhere = ~0u;
constexpr int poison = 0xff;  // every byte of what has no value: a NaN as float, -1 as integer

[[noreturn]] inline void fail(const std::string& message) {
  std::fflush(stdout);
  std::fprintf(stderr, "ipu: %s\n", message.c_str());
  std::fflush(stderr);
  std::_Exit(3);
}

inline std::string text(std::size_t number) { return std::to_string(number); }
inline std::string quoted(const std::string& name) { return "'" + name + "'"; }
inline std::string span(std::size_t begin, std::size_t end) {
  return "[" + text(begin) + ", " + text(end) + ")";
}

// ---- codelets

inline std::vector<VertexKind>& kinds() {
  static std::vector<VertexKind> all;  // filled before main, in any order of files
  return all;
}

// ---- what a graph has

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
  Range range{};                // of a vector
  unsigned char value[8] = {};  // of a scalar
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
  bool compiled = false;
  std::vector<Variable> variables;
  std::vector<Node> vertices;
  std::vector<Set> sets;
  std::vector<Stream> streams;
  std::vector<std::pair<std::string, Tensor>> writes, reads;

  std::string vertex_text(unsigned id) const {
    if (id >= vertices.size()) fail("a vertex that is not of this graph");
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

// ---- ranges

inline void append(std::vector<Range>& ranges, const Range& piece) {
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

inline std::size_t product(const std::vector<std::size_t>& shape, std::size_t from = 0) {
  std::size_t elements = 1;
  for (std::size_t axis = from; axis < shape.size(); ++axis) elements *= shape[axis];
  return elements;
}

// Calls `take(source variable, its element, destination variable, its element, count)` for the
// longest runs of both lists, which have as many elements.
template <class Take>
inline void zip(const std::vector<Range>& from, const std::vector<Range>& to, Take take) {
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

inline bool by_place(const Range& a, const Range& b) {
  return a.variable != b.variable ? a.variable < b.variable : a.begin < b.begin;
}

inline std::vector<Range> sorted(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end(), by_place);
  return ranges;
}

}  // namespace snnir_standin
