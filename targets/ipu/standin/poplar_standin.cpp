// Runs a host program written for Poplar on this machine, and checks every rule of the IPU that can
// be checked without one: where elements and vertices are, what a tile holds, who writes what, what
// moves between tiles. A broken rule ends the program with code 3 and one line. Our own code; it
// models no timing, no code or buffers of the exchange in memory, and nothing between replicas.
#include "poplar_standin.hpp"

#include <cmath>
#include <limits>

#include "report_standin.hpp"

namespace snnir_standin {

bool add_kind(const VertexKind& kind) {
  kinds().push_back(kind);
  return true;
}

void outside(const char* field, std::size_t index, std::size_t count) {
  const std::string who =
      running ? running_in->vertex_text(static_cast<unsigned>(running - &running_in->vertices[0]))
              : "a vertex";
  fail(who + ": field " + quoted(field) + ": element " + text(index) + " of " + text(count));
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
  const bool power = requiredNumIPUs && !(requiredNumIPUs & (requiredNumIPUs - 1));
  if (!power || requiredNumIPUs > 64) return {};
  return {Device(requiredNumIPUs)};
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

// What the graph has, to be changed.
Machine& Graph::open() const {
  if (machine_->compiled) fail("the graph is changed after an engine was made of it");
  return *machine_;
}

void Graph::addCodelets(const std::string& path, CodeletFileType, const std::string&) {
  std::FILE* file = std::fopen(path.c_str(), "r");
  if (!file) fail("Graph::addCodelets: there is no file " + quoted(path));
  std::fclose(file);
  machine_->has_codelets = true;
}

Tensor Graph::addVariable(const Type& type, const std::vector<std::size_t>& shape,
                          const std::string& name) {
  const unsigned id = static_cast<unsigned>(open().variables.size());
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
  open().check_owner(tensor, "Graph::setTileMapping");
  for (const Range& range : tensor.standin_ranges()) {
    Variable& variable = machine_->variables[range.variable];
    check_tile(*machine_, tile, "variable " + quoted(variable.name));
    variable.regions.push_back({range.begin, range.begin + range.count, tile});
  }
}

void Graph::setTileMapping(const VertexRef& vertex, unsigned tile) {
  check_tile(*machine_, tile, open().vertex_text(vertex.id_));
  machine_->vertices[vertex.id_].tile = tile;
}

ComputeSet Graph::addComputeSet(const std::string& name) {
  ComputeSet set;
  set.id_ = static_cast<unsigned>(open().sets.size());
  machine_->sets.push_back({name.empty() ? text(set.id_) : name, {}});
  return set;
}

VertexRef Graph::addVertex(ComputeSet set, const std::string& codelet) {
  if (set.id_ >= open().sets.size()) fail("Graph::addVertex: no compute set of this graph");
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
  if (vertex >= machine.vertices.size()) fail("field " + quoted(name) + " of no vertex");
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
  open().check_owner(tensor, "Graph::connect");
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
  set_value(open(), field.vertex_, field.name_, false, 0, value);
}

void Graph::set_whole(const FieldRef& field, long long value) {
  set_value(open(), field.vertex_, field.name_, true, value, 0);
}

void Graph::setPerfEstimate(const VertexRef& vertex, std::uint64_t cycles, std::uint64_t) {
  if (vertex.id_ >= open().vertices.size()) fail("a vertex that is not of this graph");
  machine_->vertices[vertex.id_].cycles = cycles;
}

DataStream Graph::add_stream(const std::string& handle, const Type& type, std::size_t elements,
                             bool to_device) {
  for (const Stream& stream : open().streams)
    if (stream.handle == handle) fail("there are two streams " + quoted(handle));
  const std::size_t bytes = elements * type.standin_bytes();
  if (!bytes || bytes % 4)
    fail("stream " + quoted(handle) + ": a transfer of " + text(bytes) +
         " bytes is no multiple of 4");
  DataStream made;
  made.id_ = static_cast<unsigned>(machine_->streams.size());
  machine_->streams.push_back({handle, type.standin_name(), elements, bytes, to_device});
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
  open().check_owner(tensor, "Graph::createHostWrite");
  add_handle(machine_->writes, handle, tensor);
}

void Graph::createHostRead(const std::string& handle, const Tensor& tensor) {
  open().check_owner(tensor, "Graph::createHostRead");
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
  graph.machine_->compiled = true;
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
