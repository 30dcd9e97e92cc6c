// Puts a spiking network together on IPUs: the part of the host program that is the same for all
// networks. host.cpp, which includes it, says what lies where; codelets.cpp has the vertices.
//
// Names of Poplar are used as Graphcore's public examples use them. Nothing here has run on an IPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <poplar/CSRFunctions.hpp>
#include <poplar/DeviceManager.hpp>
#include <poplar/Engine.hpp>
#include <poplar/Graph.hpp>
#include <poplar/Program.hpp>

namespace snnir {

enum class Form { lists, bits, values };

[[noreturn]] inline void fail(const std::string &what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(2);
}

// The tile of every part: `workers` parts lie on tiles[0], the next as many on tiles[1], and so on.
struct Places {
  std::vector<unsigned> tiles;
  unsigned workers;
  unsigned of(std::size_t part) const {
    if (part / workers >= tiles.size()) fail("part " + std::to_string(part) + " has no tile");
    return tiles[part / workers];
  }
};

// A value in parts: of every part a region [batch][unit], on the part's tile.
struct Stream {
  poplar::Tensor tensor;  // [parts, batch, unit]
  Form form;
  unsigned size, per, parts, unit;
};

// Memory of the vertices of a stage: a region for every part.
struct Field {
  poplar::Tensor tensor;
  std::vector<std::size_t> starts;  // of each part, and the end
  poplar::Tensor part(std::size_t index) const {
    return tensor.slice(starts[index], starts[index + 1]);
  }
};

// What a tile receives of a value: items low to high - 1 of every sample.
struct Window {
  unsigned tile, low, high;
};

struct Image {
  poplar::Tensor tensor;
  std::vector<Window> windows;
  std::vector<std::size_t> starts;  // of each window, and the end
  // Windows are in the order of their tiles.
  std::size_t at(unsigned tile) const {
    std::size_t low = 0, high = windows.size();
    while (low < high) {
      const std::size_t middle = (low + high) / 2;
      if (windows[middle].tile < tile) low = middle + 1; else high = middle;
    }
    if (low == windows.size() || windows[low].tile != tile) {
      fail("tile " + std::to_string(tile) + " receives nothing of what it reads");
    }
    return low;
  }
};

// Sizes of parts that are alike but for the last.
inline std::vector<unsigned> even(std::size_t parts, unsigned each, unsigned last) {
  std::vector<unsigned> sizes(parts, each);
  sizes.back() = last;
  return sizes;
}

// Tiles begin to end - 1 receive items low to high - 1.
struct Run {
  unsigned begin, end, low, high;
};

inline std::vector<Window> windows(const std::vector<Run> &runs) {
  std::vector<Window> made;
  for (const Run &run : runs) {
    for (unsigned tile = run.begin; tile < run.end; ++tile) made.push_back({tile, run.low, run.high});
  }
  return made;
}

// What the host gives or takes. Files have numbers of 32 bits, [time, sample, size]; of what is
// counted they have the sum over all of a run, 64 bits.
enum class What { value, state, count };

struct Port {
  What what;
  std::string name;
  Stream stream;
  Field field;
};

inline std::vector<char> contents(const std::string &path) {
  std::FILE *file = std::fopen(path.c_str(), "rb");
  if (!file) fail("cannot open " + path);
  std::vector<char> bytes;
  char block[1 << 16];
  for (std::size_t n; (n = std::fread(block, 1, sizeof block, file)) > 0;) {
    bytes.insert(bytes.end(), block, block + n);
  }
  std::fclose(file);
  return bytes;
}

// From numbers to the items of a stream and back; spikes are what is not zero.
inline void pack(const Stream &s, const std::uint32_t *numbers, char *items, std::size_t stride) {
  for (unsigned part = 0; part < s.parts; ++part, items += stride) {
    const unsigned first = part * s.per;
    const unsigned count = s.size - first < s.per ? s.size - first : s.per;
    if (s.form == Form::values) {
      std::memcpy(items, numbers + first, 4u * count);
      continue;
    }
    auto *words = reinterpret_cast<std::uint32_t *>(items);
    auto *list = reinterpret_cast<std::uint16_t *>(items);
    if (s.form == Form::bits) std::memset(words, 0, 4u * s.unit); else list[0] = 0;
    for (unsigned j = 0; j < count; ++j) {
      if ((numbers[first + j] & 0x7fffffffu) == 0) continue;
      if (s.form == Form::bits) words[j / 32] |= 1u << j % 32;
      else list[++list[0]] = static_cast<std::uint16_t>(first + j);
    }
  }
}

inline void unpack(const Stream &s, const char *items, std::uint32_t *numbers, std::size_t stride) {
  const std::uint32_t one = 0x3f800000u;  // 1.0f
  for (unsigned part = 0; part < s.parts; ++part, items += stride) {
    const unsigned first = part * s.per;
    const unsigned count = s.size - first < s.per ? s.size - first : s.per;
    if (s.form == Form::values) {
      std::memcpy(numbers + first, items, 4u * count);
      continue;
    }
    const auto *words = reinterpret_cast<const std::uint32_t *>(items);
    const auto *list = reinterpret_cast<const std::uint16_t *>(items);
    if (s.form == Form::bits) {
      for (unsigned j = 0; j < count; ++j) numbers[first + j] = words[j / 32] >> j % 32 & 1u ? one : 0;
    } else {
      std::memset(numbers + first, 0, 4u * count);
      for (unsigned e = 1; e <= list[0]; ++e) numbers[list[e]] = one;
    }
  }
}

class Network {
 public:
  Network(const poplar::Target &target, unsigned replicas, unsigned batch)
      : graph(target, poplar::replication_factor(replicas)), replicas_(replicas), batch_(batch) {
    // Rounding is to the nearest number, never at random.
    poplar::setStochasticRounding(graph, load_, false, "rounding");
    graph.addCodelets("codelets.cpp", poplar::CodeletFileType::Auto, "-O3");
  }

  // --- What lies on tiles ------------------------------------------------------------------------

  Stream stream(const std::string &name, Form form, const poplar::Type &type, unsigned size,
                unsigned per, unsigned unit, const Places &places) {
    const unsigned parts = (size + per - 1) / per;
    Stream made{graph.addVariable(type, {parts, batch_, unit}, name), form, size, per, parts, unit};
    for (unsigned part = 0; part < parts; ++part) graph.setTileMapping(made.tensor[part], places.of(part));
    return made;
  }

  Field field(const std::string &name, const poplar::Type &type, const std::vector<unsigned> &sizes,
              const Places &places, bool is_written) {
    Field made;
    made.starts.push_back(0);
    for (const unsigned size : sizes) made.starts.push_back(made.starts.back() + size);
    made.tensor = graph.addVariable(type, {made.starts.back()}, name);
    for (std::size_t part = 0; part < sizes.size(); ++part) {
      graph.setTileMapping(made.part(part), places.of(part));
    }
    if (is_written) fill(load_, name, type, made.tensor, true);
    return made;
  }

  // What every run sets anew: from the file, or to zero.
  Field state(const std::string &name, const poplar::Type &type, const std::vector<unsigned> &sizes,
              const Places &places, bool is_written) {
    Field made = field(name, type, sizes, places, false);
    fill(reset_, name, type, made.tensor, is_written);
    return made;
  }

  void starts_at_zero(const std::string &name, const poplar::Type &type, const Stream &stream) {
    fill(reset_, name, type, stream.tensor.flatten(), false);
  }

  Image image(const std::string &name, const poplar::Type &type, std::vector<Window> windows) {
    Image made;
    made.windows = std::move(windows);
    made.starts.push_back(0);
    for (const Window &w : made.windows) {
      made.starts.push_back(made.starts.back() + std::size_t(w.high - w.low) * batch_);
    }
    made.tensor = graph.addVariable(type, {made.starts.back()}, name);
    for (std::size_t n = 0; n < made.windows.size(); ++n) {
      graph.setTileMapping(made.tensor.slice(made.starts[n], made.starts[n + 1]), made.windows[n].tile);
    }
    return made;
  }

  // --- One step ----------------------------------------------------------------------------------

  // Sends a value to the tiles that read it.
  void send(const Stream &from, const Image &to, const std::string &name) {
    const std::size_t items = std::size_t(from.parts) * from.unit;
    const poplar::Tensor rows = from.tensor.dimShuffle({1, 0, 2}).reshape({batch_, items});
    std::vector<poplar::Tensor> sources;
    for (const Window &w : to.windows) sources.push_back(rows.slice(w.low, w.high, 1).flatten());
    step_.add(poplar::program::Copy(poplar::concat(sources), to.tensor, false, name));
  }

  poplar::ComputeSet level(const std::string &name) { return graph.addComputeSet(name); }
  void execute(poplar::ComputeSet set) { step_.add(poplar::program::Execute(set)); }

  void connect(const poplar::VertexRef &vertex, const std::string &field, const poplar::Tensor &tensor) {
    graph.connect(vertex[field], tensor);
  }

  // A vertex that reads an image is told where the image begins and how wide a sample is.
  void connect(const poplar::VertexRef &vertex, const std::string &field, const Image &image,
               unsigned tile) {
    const std::size_t at = image.at(tile);
    graph.connect(vertex[field], image.tensor.slice(image.starts[at], image.starts[at + 1]));
    set(vertex, field + "_first", image.windows[at].low);
    set(vertex, field + "_width", image.windows[at].high - image.windows[at].low);
  }

  void set(const poplar::VertexRef &vertex, const std::string &field, unsigned value) {
    graph.setInitialValue(vertex[field], value);
  }

  // --- Ports -------------------------------------------------------------------------------------

  void input(const std::string &name, const poplar::Type &type, const Stream &stream) {
    const auto fifo = graph.addHostToDeviceFIFO("input:" + name, type, stream.tensor.numElements());
    step_.add(poplar::program::Copy(fifo, stream.tensor.flatten()));
    inputs_.push_back({What::value, name, stream, {}});
  }

  void output(const std::string &name, const poplar::Type &type, const Stream &stream) {
    const auto fifo = graph.addDeviceToHostFIFO("output:" + name, type, stream.tensor.numElements());
    step_.add(poplar::program::Copy(stream.tensor.flatten(), fifo));
    outputs_.push_back({What::value, name, stream, {}});
  }

  bool is_wanted(const std::string &name) const {
    for (const std::string &other : wanted) if (other == name) return true;
    return false;
  }

  void record(const std::string &name, const poplar::Type &type, const Stream &stream) {
    if (is_wanted(name)) output(name, type, stream);
  }

  void record(const std::string &name, const poplar::Type &type, const Field &field, unsigned size,
              unsigned per) {
    if (!is_wanted(name)) return;
    const auto fifo = graph.addDeviceToHostFIFO("output:" + name, type, field.tensor.numElements());
    step_.add(poplar::program::Copy(field.tensor, fifo));
    const unsigned parts = (size + per - 1) / per;
    outputs_.push_back({What::state, name, {{}, Form::values, size, per, parts, per}, field});
  }

  // Sums a value over a run.
  void count(const std::string &name, const poplar::Type &type, const Stream &stream) {
    if (!is_wanted(name)) return;
    output(name, type, stream);
    outputs_.back().what = What::count;
  }

  // --- Running -----------------------------------------------------------------------------------

  void run(const poplar::Device &device, const std::string &folder, const std::string &given,
           const std::string &made, unsigned steps, unsigned samples) {
    poplar::Engine engine(graph, {load_, reset_, poplar::program::Repeat(steps, step_)});
    engine.load(device);
    connect_fills(engine, folder + "/tiles.bin");
    engine.run(0);
    const std::vector<char> numbers = contents(given);
    std::vector<const char *> sources;
    std::size_t read = 0;
    for (const Port &port : inputs_) {
      sources.push_back(numbers.data() + read);
      read += std::size_t(4) * steps * samples * port.stream.size;
    }
    if (read != numbers.size()) fail("the input has " + std::to_string(numbers.size()) + " bytes, not " + std::to_string(read));
    std::vector<std::vector<std::uint32_t>> results;
    for (const Port &port : outputs_) {
      const std::size_t rows = std::size_t(steps) * samples;
      results.emplace_back(port.what == What::count ? 2 : rows * port.stream.size);
    }
    for (unsigned first = 0; first < samples; first += replicas_ * batch_) {
      engine.run(1);
      transfer(engine, sources, results, steps, samples, first);
    }
    std::FILE *file = std::fopen(made.c_str(), "wb");
    if (!file) fail("cannot write " + made);
    for (const auto &result : results) {
      if (std::fwrite(result.data(), 4, result.size(), file) != result.size()) fail("cannot write " + made);
    }
    if (std::fclose(file)) fail("cannot write " + made);
  }

  poplar::Graph graph;
  std::vector<std::string> wanted;  // names to record

 private:
  // Memory that the host fills: with bytes of the file, or with zeros.
  struct Fill {
    std::string handle;
    std::vector<char> bytes;
    bool is_written;
  };

  static std::size_t bytes_of(const poplar::Type &type) {
    if (type == poplar::FLOAT || type == poplar::INT || type == poplar::UNSIGNED_INT) return 4;
    return type == poplar::SIGNED_CHAR || type == poplar::UNSIGNED_CHAR ? 1 : 2;
  }

  void fill(poplar::program::Sequence &when, const std::string &name, const poplar::Type &type,
            const poplar::Tensor &tensor, bool is_written) {
    const std::size_t count = tensor.numElements();
    const auto fifo = graph.addHostToDeviceFIFO("fill:" + name, type, count);
    when.add(poplar::program::Copy(fifo, tensor));
    fills_.push_back({"fill:" + name, std::vector<char>(bytes_of(type) * count), is_written});
  }

  // The file has what is written in the order in which it was declared.
  void connect_fills(poplar::Engine &engine, const std::string &path) {
    std::FILE *file = std::fopen(path.c_str(), "rb");
    if (!file) fail("cannot open " + path);
    for (Fill &one : fills_) {
      const std::size_t wanted = one.is_written ? one.bytes.size() : 0;
      if (std::fread(one.bytes.data(), 1, wanted, file) != wanted) fail(path + " is too short");
      for (unsigned replica = 0; replica < replicas_; ++replica) {
        engine.connectStreamToCallback(one.handle, replica, [&one](void *items) {
          std::memcpy(items, one.bytes.data(), one.bytes.size());
        });
      }
    }
    if (std::fgetc(file) != EOF) fail(path + " is too long");
    std::fclose(file);
  }

  // Runs all steps for as many samples as the replicas take at once, from `first` on.
  void transfer(poplar::Engine &engine, const std::vector<const char *> &sources,
                std::vector<std::vector<std::uint32_t>> &results, unsigned steps, unsigned samples,
                unsigned first) {
    std::vector<unsigned> clocks((inputs_.size() + outputs_.size()) * replicas_);
    for (unsigned replica = 0; replica < replicas_; ++replica) {
      const unsigned begin = first + replica * batch_;
      for (std::size_t n = 0; n < inputs_.size(); ++n) {
        unsigned &clock = clocks[n * replicas_ + replica];
        const auto *all = reinterpret_cast<const std::uint32_t *>(sources[n]);
        engine.connectStreamToCallback("input:" + inputs_[n].name, replica, [=, this_ = this, &clock](void *items) {
          this_->feed(this_->inputs_[n].stream, all, static_cast<char *>(items), clock++ % steps, samples, begin);
        });
      }
      for (std::size_t n = 0; n < outputs_.size(); ++n) {
        unsigned &clock = clocks[(inputs_.size() + n) * replicas_ + replica];
        std::uint32_t *all = results[n].data();
        engine.connectStreamToCallback("output:" + outputs_[n].name, replica, [=, this_ = this, &clock](void *items) {
          this_->take(this_->outputs_[n], static_cast<const char *>(items), all, clock++ % steps, samples, begin);
        });
      }
    }
    engine.run(2);
  }

  static void add_up(const std::vector<std::uint32_t> &numbers, bool are_whole, std::uint32_t *sum) {
    double total;
    std::memcpy(&total, sum, 8);
    for (const std::uint32_t number : numbers) {
      float value;
      std::memcpy(&value, &number, 4);
      total += are_whole ? static_cast<std::int32_t>(number) : value;
    }
    std::memcpy(sum, &total, 8);
  }

  // Where the numbers of a sample at a step lie.
  static std::size_t place(unsigned step, unsigned samples, unsigned sample, unsigned size) {
    return (std::size_t(step) * samples + sample) * size;
  }

  void feed(const Stream &s, const std::uint32_t *all, char *items, unsigned step, unsigned samples,
            unsigned begin) const {
    const std::size_t width = s.form == Form::lists ? 2 : 4;
    const std::vector<std::uint32_t> nothing(s.size);
    for (unsigned b = 0; b < batch_; ++b) {
      const bool known = begin + b < samples;
      const std::uint32_t *numbers = known ? all + place(step, samples, begin + b, s.size) : nothing.data();
      pack(s, numbers, items + b * s.unit * width, batch_ * s.unit * width);
    }
  }

  void take(const Port &port, const char *items, std::uint32_t *all, unsigned step, unsigned samples,
            unsigned begin) const {
    const Stream &s = port.stream;
    const std::size_t width = s.form == Form::lists ? 2 : 4;
    std::vector<std::uint32_t> room(port.what == What::count ? s.size : 0);
    for (unsigned b = 0; b < batch_ && begin + b < samples; ++b) {
      if (port.what == What::count) {
        unpack(s, items + b * s.unit * width, room.data(), batch_ * s.unit * width);
        add_up(room, s.tensor.elementType() == poplar::INT, all);
        continue;
      }
      std::uint32_t *numbers = all + place(step, samples, begin + b, s.size);
      if (port.what == What::value) {
        unpack(s, items + b * s.unit * width, numbers, batch_ * s.unit * width);
        continue;
      }
      // Of every part [batch][elements].
      for (std::size_t part = 0; part + 1 < port.field.starts.size(); ++part) {
        const std::size_t start = port.field.starts[part];
        const std::size_t count = (port.field.starts[part + 1] - start) / batch_;
        std::memcpy(numbers + part * s.per, items + 4 * (start + b * count), 4 * count);
      }
    }
  }

  unsigned replicas_, batch_;
  poplar::program::Sequence load_, reset_, step_;
  std::vector<Fill> fills_;
  std::vector<Port> inputs_, outputs_;
};

}  // namespace snnir
