// What a host program sees of Poplar, for compilers of this machine: our own code, names and forms
// as in Graphcore's public sources. Only these names exist, so that a program that needs others
// does not compile. `poplar_standin.cpp` runs it and checks every rule of the machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace snnir_standin {

struct Machine;   // variables, vertices, streams: what a graph has
struct Step;      // one program
struct Executor;  // an engine's memory and compiled programs

// Elements [begin, begin + count) of a variable, the elements from `at` on of a tensor.
struct Range {
  std::size_t at;
  std::size_t begin;
  std::size_t count;
  unsigned variable;
};

}  // namespace snnir_standin

namespace poplar {

enum class TargetType { IPU };
enum class CodeletFileType { Auto };

class Type {
 public:
  constexpr Type(const char* name, unsigned bytes) : name_(name), bytes_(bytes) {}
  bool operator==(const Type& other) const { return name_ == other.name_; }
  bool operator!=(const Type& other) const { return !(*this == other); }
  const char* standin_name() const { return name_; }
  unsigned standin_bytes() const { return bytes_; }

 private:
  const char* name_;  // always one of the literals below, so that pointers compare
  unsigned bytes_;
};

extern const Type FLOAT, HALF, INT, UNSIGNED_INT, UNSIGNED_SHORT, SHORT, SIGNED_CHAR, UNSIGNED_CHAR,
    LONGLONG;

class Target {
 public:
  unsigned getNumTiles() const { return ipus_ * tiles_; }
  unsigned getTilesPerIPU() const { return tiles_; }
  unsigned getBytesPerTile() const { return bytes_; }
  unsigned getNumWorkerContexts() const { return 6; }
  unsigned getNumIPUs() const { return ipus_; }

 private:
  friend class Device;
  friend class Graph;
  friend struct snnir_standin::Machine;
  unsigned ipus_ = 1, tiles_ = 0, bytes_ = 0;
};

class Device {
 public:
  Device() = default;
  bool attach() const;
  void detach() const;
  const Target& getTarget() const { return target_; }
  unsigned getId() const { return 0; }

 private:
  friend class DeviceManager;
  friend class Engine;
  explicit Device(unsigned ipus);
  Target target_;
  std::shared_ptr<bool> attached_;
};

class DeviceManager {
 public:
  static DeviceManager createDeviceManager() { return {}; }
  std::vector<Device> getDevices(TargetType type, unsigned requiredNumIPUs) const;
};

class Tensor {
 public:
  Tensor() = default;
  Tensor operator[](std::size_t index) const;
  Tensor slice(std::size_t begin, std::size_t end, unsigned dimension = 0) const;
  Tensor reshape(const std::vector<std::size_t>& shape) const;
  Tensor flatten() const;
  Tensor dimShuffle(const std::vector<unsigned>& permutation) const;
  std::size_t numElements() const { return elements_; }
  std::vector<std::size_t> shape() const { return shape_; }
  Type elementType() const { return {type_name_, type_bytes_}; }
  unsigned rank() const { return static_cast<unsigned>(shape_.size()); }

  const std::vector<snnir_standin::Range>& standin_ranges() const;
  const snnir_standin::Machine* standin_machine() const { return machine_; }

 private:
  friend class Graph;
  friend Tensor concat(const std::vector<Tensor>& parts, unsigned dimension);
  Tensor with(std::vector<snnir_standin::Range> ranges, std::vector<std::size_t> shape) const;
  void take(std::size_t begin, std::size_t end, std::vector<snnir_standin::Range>& into) const;

  const snnir_standin::Machine* machine_ = nullptr;
  const char* type_name_ = "";
  unsigned type_bytes_ = 0;
  std::size_t elements_ = 0;
  std::vector<std::size_t> shape_;
  std::shared_ptr<const std::vector<snnir_standin::Range>> ranges_;
};

Tensor concat(const std::vector<Tensor>& parts, unsigned dimension = 0);

class ComputeSet {
  friend class Graph;
  friend struct snnir_standin::Step;
  unsigned id_ = ~0u;
};

class FieldRef {
  friend class Graph;
  friend class VertexRef;
  unsigned vertex_ = ~0u;
  std::string name_;
};

class VertexRef {
 public:
  FieldRef operator[](const std::string& field) const;

 private:
  friend class Graph;
  unsigned id_ = ~0u;
};

class DataStream {
  friend class Graph;
  friend struct snnir_standin::Step;
  unsigned id_ = ~0u;
};

class replication_factor {
 public:
  explicit replication_factor(unsigned factor) : factor_(factor) {}

 private:
  friend class Graph;
  unsigned factor_;
};

namespace program {

// Programs are values: adding one to a sequence takes it as it is then.
class Program {
 public:
  Program();
  const std::shared_ptr<snnir_standin::Step>& standin_step() const { return step_; }

 protected:
  std::shared_ptr<snnir_standin::Step> step_;
};

class Sequence : public Program {
 public:
  Sequence() = default;
  Sequence(std::initializer_list<Program> programs, const std::string& name = {});
  void add(const Program& program);
};

class Copy : public Program {
 public:
  Copy(Tensor source, Tensor destination, bool dontOutline = false, const std::string& name = {});
  Copy(const DataStream& stream, Tensor destination, bool optimiseMemory = false,
       const std::string& name = {});
  Copy(Tensor source, const DataStream& stream, bool optimiseMemory = false,
       const std::string& name = {});
};

class Execute : public Program {
 public:
  explicit Execute(ComputeSet set, const std::string& name = {});
};

class Repeat : public Program {
 public:
  Repeat(unsigned count, const Program& body, const std::string& name = {});
};

}  // namespace program

class Graph {
 public:
  explicit Graph(const Target& target, replication_factor factor = replication_factor(1));
  const Target& getTarget() const;
  unsigned getReplicationFactor() const;
  void addCodelets(const std::string& path, CodeletFileType type = CodeletFileType::Auto,
                   const std::string& compileFlags = {});
  Tensor addVariable(const Type& type, const std::vector<std::size_t>& shape,
                     const std::string& name = {});
  void setTileMapping(const Tensor& tensor, unsigned tile);
  void setTileMapping(const VertexRef& vertex, unsigned tile);
  ComputeSet addComputeSet(const std::string& name = {});
  VertexRef addVertex(ComputeSet set, const std::string& codelet);
  void connect(FieldRef field, const Tensor& tensor);
  template <class T>
  std::enable_if_t<std::is_arithmetic<T>::value> setInitialValue(FieldRef field, T value) {
    if (std::is_floating_point<T>::value) set_real(field, static_cast<double>(value));
    else set_whole(field, static_cast<long long>(value));
  }
  void setPerfEstimate(const VertexRef& vertex, std::uint64_t cycles, std::uint64_t flops = 0);
  DataStream addHostToDeviceFIFO(const std::string& handle, const Type& type, std::size_t elements);
  DataStream addDeviceToHostFIFO(const std::string& handle, const Type& type, std::size_t elements);
  void createHostWrite(const std::string& handle, const Tensor& tensor);
  void createHostRead(const std::string& handle, const Tensor& tensor);

 private:
  friend class Engine;
  snnir_standin::Machine& open() const;
  void set_real(const FieldRef& field, double value);
  void set_whole(const FieldRef& field, long long value);
  DataStream add_stream(const std::string& handle, const Type& type, std::size_t elements,
                        bool to_device);
  std::shared_ptr<snnir_standin::Machine> machine_;
};

struct FloatingPointBehaviour {
  FloatingPointBehaviour() = default;
  FloatingPointBehaviour(bool invalid, bool division, bool overflow, bool stochastic, bool nan)
      : inv(invalid), div0(division), oflo(overflow), esr(stochastic), nanoo(nan) {}
  bool inv = true, div0 = true, oflo = true, esr = true, nanoo = true;
};

void setFloatingPointBehaviour(Graph& graph, program::Sequence& sequence,
                               const FloatingPointBehaviour& behaviour,
                               const std::string& name = {});
void setStochasticRounding(Graph& graph, program::Sequence& sequence, bool enable,
                           const std::string& name = {});

class OptionFlags {
 public:
  OptionFlags() = default;
  OptionFlags(std::initializer_list<std::pair<std::string, std::string>> flags);
  void set(const std::string& key, const std::string& value);

 private:
  friend class Engine;
  std::vector<std::pair<std::string, std::string>> flags_;
};

class Engine {
 public:
  Engine(const Graph& graph, const std::vector<program::Program>& programs,
         const OptionFlags& options = {});
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  void load(const Device& device);
  void run(unsigned program = 0);
  // A circular buffer: every transfer goes on where the last one ended.
  void connectStream(const std::string& handle, void* begin, void* end);
  void connectStreamToCallback(const std::string& handle, std::function<void(void*)> callback);
  void connectStreamToCallback(const std::string& handle, unsigned replica,
                               std::function<void(void*)> callback);
  void writeTensor(const std::string& handle, const void* begin, const void* end);
  void readTensor(const std::string& handle, void* begin, void* end);

 private:
  std::unique_ptr<snnir_standin::Executor> executor_;
};

}  // namespace poplar
