// The part of the host program that is the same for all networks; see network.hpp.
#include "network.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace snnir {

void fail(const std::string &what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(2);
}

std::size_t Image::at(unsigned tile) const {
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

std::vector<unsigned> even(std::size_t parts, unsigned each, unsigned last) {
  std::vector<unsigned> sizes(parts, each);
  sizes.back() = last;
  return sizes;
}

std::vector<Window> windows(const std::vector<Run> &runs) {
  std::vector<Window> made;
  for (const Run &run : runs) {
    for (unsigned tile = run.begin; tile < run.end; ++tile) made.push_back({tile, run.low, run.high});
  }
  return made;
}

static std::vector<char> contents(const std::string &path) {
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
static void pack(const Stream &s, const std::uint32_t *numbers, char *items, std::size_t stride) {
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

static void unpack(const Stream &s, const char *items, std::uint32_t *numbers, std::size_t stride) {
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

Network::Network(const poplar::Target &target, unsigned replicas, unsigned batch)
    : graph(target, poplar::replication_factor(replicas)), replicas_(replicas), batch_(batch) {
  // Rounding is to the nearest number, never at random.
  poplar::setStochasticRounding(graph, load_, false, "rounding");
  graph.addCodelets("codelets.cpp", poplar::CodeletFileType::Auto, "-O3");
}

Stream Network::stream(const std::string &name, Form form, const poplar::Type &type, unsigned size,
    unsigned per, unsigned unit, const Places &places) {
  const unsigned parts = (size + per - 1) / per;
  Stream made{graph.addVariable(type, {parts, batch_, unit}, name), form, size, per, parts, unit};
  for (unsigned part = 0; part < parts; ++part) graph.setTileMapping(made.tensor[part], places.of(part));
  return made;
}

Field Network::field(const std::string &name, const poplar::Type &type, const std::vector<unsigned> &sizes,
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

Field Network::state(const std::string &name, const poplar::Type &type, const std::vector<unsigned> &sizes,
    const Places &places, bool is_written) {
  Field made = field(name, type, sizes, places, false);
  fill(reset_, name, type, made.tensor, is_written);
  return made;
}

void Network::starts_at_zero(const std::string &name, const poplar::Type &type, const Stream &stream) {
  fill(reset_, name, type, stream.tensor.flatten(), false);
}

Image Network::image(const std::string &name, const poplar::Type &type, std::vector<Window> windows) {
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

Gathered Network::gathered(const std::string &name, const poplar::Type &type, const Stream &from,
                           unsigned each, const std::vector<unsigned> &tiles) {
  const std::size_t part = std::size_t(batch_) * from.unit, all = from.parts * part;
  Gathered made{graph.addVariable(type, {all}, name)};
  for (std::size_t n = 0; n < tiles.size(); ++n) {
    const std::size_t first = n * each * part, last = first + each * part;
    graph.setTileMapping(made.tensor.slice(first, last < all ? last : all), tiles[n]);
  }
  return made;
}

void Network::send(const Stream &from, const Image &to, const std::string &name) {
  const std::size_t items = std::size_t(from.parts) * from.unit;
  if (from.form == Form::values) {
    spread(from.tensor.dimShuffle({1, 0, 2}).reshape({batch_, items}), 1, to, name);
  } else {
    spread(from.tensor.reshape({1, items * batch_}), batch_, to, name);
  }
}

void Network::send(const Stream &from, const Gathered &through, const Image &to,
                   const std::string &name) {
  step_.add(poplar::program::Copy(from.tensor.flatten(), through.tensor, false, name + " gathered"));
  const std::size_t all = through.tensor.numElements();
  spread(through.tensor.reshape({1, all}), from.form == Form::values ? 1 : batch_, to, name);
}

void Network::spread(const poplar::Tensor &rows, std::size_t each, const Image &to,
                     const std::string &name) {
  std::vector<poplar::Tensor> sources;
  for (const Window &w : to.windows) {
    sources.push_back(rows.slice(w.low * each, w.high * each, 1).flatten());
  }
  step_.add(poplar::program::Copy(poplar::concat(sources), to.tensor, false, name));
}

void Network::connect(const poplar::VertexRef &vertex, const std::string &field, const poplar::Tensor &tensor) {
  graph.connect(vertex[field], tensor);
}

void Network::connect(const poplar::VertexRef &vertex, const std::string &field, const Image &image,
    unsigned tile) {
  const std::size_t at = image.at(tile);
  graph.connect(vertex[field], image.tensor.slice(image.starts[at], image.starts[at + 1]));
  set(vertex, field + "_first", image.windows[at].low);
  set(vertex, field + "_width", image.windows[at].high - image.windows[at].low);
}

void Network::set(const poplar::VertexRef &vertex, const std::string &field, unsigned value) {
  graph.setInitialValue(vertex[field], value);
}

void Network::input(const std::string &name, const poplar::Type &type, const Stream &stream) {
  const auto fifo = graph.addHostToDeviceFIFO("input:" + name, type, stream.tensor.numElements());
  step_.add(poplar::program::Copy(fifo, stream.tensor.flatten()));
  inputs_.push_back({What::value, name, stream, {}});
}

void Network::output(const std::string &name, const poplar::Type &type, const Stream &stream) {
  const auto fifo = graph.addDeviceToHostFIFO("output:" + name, type, stream.tensor.numElements());
  step_.add(poplar::program::Copy(stream.tensor.flatten(), fifo));
  outputs_.push_back({What::value, name, stream, {}});
}

bool Network::is_wanted(const std::string &name) const {
  for (const std::string &other : wanted) if (other == name) return true;
  return false;
}

void Network::record(const std::string &name, const poplar::Type &type, const Stream &stream) {
  if (is_wanted(name)) output(name, type, stream);
}

void Network::record(const std::string &name, const poplar::Type &type, const Field &field, unsigned size,
    unsigned per) {
  if (!is_wanted(name)) return;
  const auto fifo = graph.addDeviceToHostFIFO("output:" + name, type, field.tensor.numElements());
  step_.add(poplar::program::Copy(field.tensor, fifo));
  const unsigned parts = (size + per - 1) / per;
  outputs_.push_back({What::state, name, {{}, Form::values, size, per, parts, per}, field});
}

void Network::count(const std::string &name, const poplar::Type &type, const Stream &stream) {
  if (!is_wanted(name)) return;
  output(name, type, stream);
  outputs_.back().what = What::count;
}

void Network::run(const poplar::Device &device, const std::string &folder, const std::string &given,
    const std::string &made, unsigned steps, unsigned samples) {
  const std::vector<char> numbers = contents(given);
  std::vector<const std::uint32_t *> sources;
  std::size_t read = 0;
  for (const Port &port : inputs_) {
    sources.push_back(reinterpret_cast<const std::uint32_t *>(numbers.data() + read));
    read += std::size_t(4) * steps * samples * port.stream.size;
  }
  if (read != numbers.size()) fail("the input has " + std::to_string(numbers.size()) + " bytes, not " + std::to_string(read));
  std::vector<std::vector<std::uint32_t>> results;
  for (const Port &port : outputs_) {
    const std::size_t rows = std::size_t(steps) * samples;
    results.emplace_back(port.what == What::count ? 2 : rows * port.stream.size);
  }
  poplar::Engine engine(graph, {load_, reset_, poplar::program::Repeat(steps, step_)});
  engine.load(device);
  // Every stream has its callback before the first program runs, as in Graphcore's own programs.
  connect_fills(engine, folder + "/tiles.bin");
  Progress progress{steps, samples, 0, {}};
  connect_ports(engine, progress, sources, results);
  engine.run(0);
  for (; progress.first < samples; progress.first += replicas_ * batch_) {
    engine.run(1);
    engine.run(2);
  }
  std::FILE *file = std::fopen(made.c_str(), "wb");
  if (!file) fail("cannot write " + made);
  for (const auto &result : results) {
    if (std::fwrite(result.data(), 4, result.size(), file) != result.size()) fail("cannot write " + made);
  }
  if (std::fclose(file)) fail("cannot write " + made);
}

std::size_t Network::bytes_of(const poplar::Type &type) {
  if (type == poplar::FLOAT || type == poplar::INT || type == poplar::UNSIGNED_INT) return 4;
  return type == poplar::SIGNED_CHAR || type == poplar::UNSIGNED_CHAR ? 1 : 2;
}

void Network::fill(poplar::program::Sequence &when, const std::string &name, const poplar::Type &type,
    const poplar::Tensor &tensor, bool is_written) {
  const std::size_t count = tensor.numElements();
  const auto fifo = graph.addHostToDeviceFIFO("fill:" + name, type, count);
  // `true`: what is out of order is put in order by the host, which takes no memory of tiles.
  when.add(poplar::program::Copy(fifo, tensor, true));
  fills_.push_back({"fill:" + name, std::vector<char>(bytes_of(type) * count), is_written});
}

void Network::connect_fills(poplar::Engine &engine, const std::string &path) {
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

void Network::connect_ports(poplar::Engine &engine, Progress &progress,
    const std::vector<const std::uint32_t *> &sources,
    std::vector<std::vector<std::uint32_t>> &results) {
  progress.transfers.assign((inputs_.size() + outputs_.size()) * replicas_, 0);
  std::size_t own = 0;
  for (unsigned replica = 0; replica < replicas_; ++replica) {
    for (std::size_t n = 0; n < inputs_.size(); ++n, ++own) {
      const std::uint32_t *all = sources[n];
      engine.connectStreamToCallback("input:" + inputs_[n].name, replica, [this, &progress, own, n, all, replica](void *items) {
        const unsigned step = progress.step(own), begin = progress.first + replica * batch_;
        feed(inputs_[n].stream, all, static_cast<char *>(items), step, progress.samples, begin);
      });
    }
    for (std::size_t n = 0; n < outputs_.size(); ++n, ++own) {
      std::uint32_t *all = results[n].data();
      engine.connectStreamToCallback("output:" + outputs_[n].name, replica, [this, &progress, own, n, all, replica](void *items) {
        const unsigned step = progress.step(own), begin = progress.first + replica * batch_;
        take(outputs_[n], static_cast<const char *>(items), all, step, progress.samples, begin);
      });
    }
  }
}

void Network::add_up(const std::vector<std::uint32_t> &numbers, bool are_whole, std::uint32_t *sum) {
  double total;
  std::memcpy(&total, sum, 8);
  for (const std::uint32_t number : numbers) {
    float value;
    std::memcpy(&value, &number, 4);
    total += are_whole ? static_cast<std::int32_t>(number) : value;
  }
  std::memcpy(sum, &total, 8);
}

std::size_t Network::place(unsigned step, unsigned samples, unsigned sample, unsigned size) {
  return (std::size_t(step) * samples + sample) * size;
}

void Network::feed(const Stream &s, const std::uint32_t *all, char *items, unsigned step, unsigned samples,
    unsigned begin) const {
  const std::size_t width = s.form == Form::lists ? 2 : 4;
  const std::vector<std::uint32_t> nothing(s.size);
  for (unsigned b = 0; b < batch_; ++b) {
    const bool known = begin + b < samples;
    const std::uint32_t *numbers = known ? all + place(step, samples, begin + b, s.size) : nothing.data();
    pack(s, numbers, items + b * s.unit * width, batch_ * s.unit * width);
  }
}

void Network::take(const Port &port, const char *items, std::uint32_t *all, unsigned step, unsigned samples,
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

}  // namespace snnir
