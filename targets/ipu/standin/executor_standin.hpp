// An engine's memory, and the programs that run in it.
#pragma once

#include <cfenv>
#include <cstring>
#include <unordered_map>

#include "checks_standin.hpp"
#include "copies_standin.hpp"
#include "memory_standin.hpp"

namespace snnir_standin {

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

inline const Node* running = nullptr;
inline const Machine* running_in = nullptr;

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
      std::memset(replica.memory.back().get(), poison, bytes);
      replica.written.emplace_back(variable.elements);
    }
    replica.streams.resize(machine->streams.size());
    for (const Node& node : machine->vertices) replica.vertices.push_back(create(replica, node));
    for (const Set& set : machine->sets) {
      replica.outputs.emplace_back();
      each_field(set, [&](unsigned, const Field& field, const Range& range) {
        if (field.access == Access::output)
          replica.outputs.back().push_back(
              {address(replica, range.variable, range.begin), range.count * field.bytes});
      });
    }
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
    // What an output was before is not defined, and so is what a vertex leaves of it unwritten.
    for (const Poison& output : replica.outputs[number])
      std::memset(output.to, poison, output.bytes);
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

}  // namespace snnir_standin
