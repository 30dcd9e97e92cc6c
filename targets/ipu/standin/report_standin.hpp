// What a run cost, as JSON: memory of tiles, traffic of copies, cycles of compute sets.
#pragma once

#include "executor_standin.hpp"

namespace snnir_standin {

inline std::string json(const std::string& name) {
  std::string escaped = "\"";
  for (char letter : name) {
    if (letter == '"' || letter == '\\') escaped += '\\';
    escaped += static_cast<unsigned char>(letter) < 0x20 ? ' ' : letter;
  }
  return escaped + "\"";
}

inline std::string json(const char* name, Bytes value) { return json(name) + ": " + text(value); }

inline std::string json(const char* name, const std::vector<Bytes>& values) {
  std::string list = json(name) + ": [";
  for (std::size_t i = 0; i < values.size(); ++i) list += (i ? ", " : "") + text(values[i]);
  return list + "]";
}

inline std::string json(const Traffic& traffic) {
  return json("bytes", traffic.bytes) + ", " + json("received", traffic.received) + ", " +
         json("received_max", traffic.received_max) + ", " + json("sent", traffic.sent) + ", " +
         json("sent_max", traffic.sent_max) + ", " + json("ipu_received", traffic.ipu_received) +
         ", " + json("ipu_sent", traffic.ipu_sent);
}

inline void Executor::report(const char* path) const {
  std::FILE* file = std::fopen(path, "w");
  if (!file) fail(std::string("cannot write the report ") + path);
  auto put = [&](const std::string& part) { std::fputs(part.c_str(), file); };
  auto list = [&](const char* name, const std::vector<std::string>& entries) {
    put(",\n" + json(name) + ": [");
    for (std::size_t i = 0; i < entries.size(); ++i)
      put((i ? ",\n  {" : "\n  {") + entries[i] + "}");
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
                      json("pieces", copy.traffic.pieces) + ", " + json("executed", copy.executed));
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
