// The rules of a graph: where everything is, what fits, who may write what.
#pragma once

#include "machine_standin.hpp"

namespace snnir_standin {

inline void check_mapping(Machine& machine) {
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

inline void check_field(const Machine& machine, unsigned id, std::size_t place) {
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

inline void check_races(const Machine& machine, const Set& set) {
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

inline Bytes vertex_bytes(const VertexKind& kind) {
  Bytes bytes = 0;
  for (std::size_t place = 0; place < kind.field_count; ++place) {
    const Bytes slot = kind.fields[place].slot, whole = std::min<Bytes>(slot, 4);
    bytes = (bytes + whole - 1) / whole * whole + slot;
  }
  return (bytes + 3) / 4 * 4 + 8;  // and what starts it: its code's address and its own
}

inline Usage check_memory(const Machine& machine) {
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

inline Usage check_graph(Machine& machine) {
  check_mapping(machine);
  for (unsigned id = 0; id < machine.vertices.size(); ++id) {
    if (machine.vertices[id].tile == nowhere) fail(machine.vertex_text(id) + " is on no tile");
    for (std::size_t place = 0; place < machine.vertices[id].fields.size(); ++place)
      check_field(machine, id, place);
  }
  for (const Set& set : machine.sets) check_races(machine, set);
  return check_memory(machine);
}

}  // namespace snnir_standin
