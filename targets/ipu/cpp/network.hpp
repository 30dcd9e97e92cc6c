// Puts a spiking network together on IPUs: the part of the host program that is the same for all
// networks. host.cpp, which includes it, says what lies where; network.cpp has the functions,
// codelets.cpp the vertices.
//
// Names of Poplar are used as Graphcore's public examples use them. Nothing here has run on an IPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
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

// Ends the program with a message.
[[noreturn]] void fail(const std::string &what);

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
  std::size_t at(unsigned tile) const;  // windows are in the order of their tiles
};

// A value put together on a few tiles, which send it on: all regions of its parts, in order.
struct Gathered {
  poplar::Tensor tensor;
};

// Sizes of parts that are alike but for the last.
std::vector<unsigned> even(std::size_t parts, unsigned each, unsigned last);

// Tiles begin to end - 1 receive items low to high - 1.
struct Run {
  unsigned begin, end, low, high;
};

std::vector<Window> windows(const std::vector<Run> &runs);

// What the host gives or takes. Files have numbers of 32 bits, [time, sample, size]; of what is
// counted they have the sum over all of a run, 64 bits.
enum class What { value, state, count };

struct Port {
  What what;
  std::string name;
  Stream stream;
  Field field;
};

class Network {
 public:
  Network(const poplar::Target &target, unsigned replicas, unsigned batch);

  // --- What lies on tiles ------------------------------------------------------------------------

  Stream stream(const std::string &name, Form form, const poplar::Type &type, unsigned size,
                unsigned per, unsigned unit, const Places &places);

  Field field(const std::string &name, const poplar::Type &type, const std::vector<unsigned> &sizes,
              const Places &places, bool is_written);

  // What every run sets anew: from the file, or to zero.
  Field state(const std::string &name, const poplar::Type &type, const std::vector<unsigned> &sizes,
              const Places &places, bool is_written);

  void starts_at_zero(const std::string &name, const poplar::Type &type, const Stream &stream);

  Image image(const std::string &name, const poplar::Type &type, std::vector<Window> windows);

  // Parts 0 to each - 1 of a value come together on tiles[0], the next as many on tiles[1], and so on.
  Gathered gathered(const std::string &name, const poplar::Type &type, const Stream &from,
                    unsigned each, const std::vector<unsigned> &tiles);

  // --- One step ----------------------------------------------------------------------------------

  // Sends a value to the tiles that read it: lists and bits in whole parts, which are few pieces of
  // memory; values sample by sample, as many as each tile reads.
  void send(const Stream &from, const Image &to, const std::string &name);

  // Sends a value by way of the tiles that gather it.
  void send(const Stream &from, const Gathered &through, const Image &to, const std::string &name);

  poplar::ComputeSet level(const std::string &name) { return graph.addComputeSet(name); }
  void execute(poplar::ComputeSet set) { step_.add(poplar::program::Execute(set)); }

  void connect(const poplar::VertexRef &vertex, const std::string &field, const poplar::Tensor &tensor);

  // A vertex that reads an image is told where the image begins and how wide a sample is.
  void connect(const poplar::VertexRef &vertex, const std::string &field, const Image &image,
               unsigned tile);

  void set(const poplar::VertexRef &vertex, const std::string &field, unsigned value);

  // --- Ports -------------------------------------------------------------------------------------

  void input(const std::string &name, const poplar::Type &type, const Stream &stream);

  void output(const std::string &name, const poplar::Type &type, const Stream &stream);

  bool is_wanted(const std::string &name) const;

  void record(const std::string &name, const poplar::Type &type, const Stream &stream);

  void record(const std::string &name, const poplar::Type &type, const Field &field, unsigned size,
              unsigned per);

  // Sums a value over a run.
  void count(const std::string &name, const poplar::Type &type, const Stream &stream);

  // --- Running -----------------------------------------------------------------------------------

  void run(const poplar::Device &device, const std::string &folder, const std::string &given,
           const std::string &made, unsigned steps, unsigned samples);

  poplar::Graph graph;
  std::vector<std::string> wanted;  // names to record

 private:
  // Memory that the host fills: with bytes of the file, or with zeros.
  struct Fill {
    std::string handle;
    std::vector<char> bytes;
    bool is_written;
  };

  // Sends windows of rows of items; `each` items of a row are one item of a window.
  void spread(const poplar::Tensor &rows, std::size_t each, const Image &to, const std::string &name);

  static std::size_t bytes_of(const poplar::Type &type);

  void fill(poplar::program::Sequence &when, const std::string &name, const poplar::Type &type,
            const poplar::Tensor &tensor, bool is_written);

  // The file has what is written in the order in which it was declared.
  void connect_fills(poplar::Engine &engine, const std::string &path);

  // How far a run is: callbacks look here. The replicas take samples from `first` on; each port has
  // a count of its transfers for every replica, one transfer a step.
  struct Progress {
    unsigned steps, samples, first;
    std::vector<unsigned> transfers;
    unsigned step(std::size_t port) { return transfers[port]++ % steps; }
  };

  void connect_ports(poplar::Engine &engine, Progress &progress,
                     const std::vector<const std::uint32_t *> &sources,
                     std::vector<std::vector<std::uint32_t>> &results);

  static void add_up(const std::vector<std::uint32_t> &numbers, bool are_whole, std::uint32_t *sum);

  // Where the numbers of a sample at a step lie.
  static std::size_t place(unsigned step, unsigned samples, unsigned sample, unsigned size);

  void feed(const Stream &s, const std::uint32_t *all, char *items, unsigned step, unsigned samples,
            unsigned begin) const;

  void take(const Port &port, const char *items, std::uint32_t *all, unsigned step, unsigned samples,
            unsigned begin) const;

  unsigned replicas_, batch_;
  poplar::program::Sequence load_, reset_, step_;
  std::vector<Fill> fills_;
  std::vector<Port> inputs_, outputs_;
};

}  // namespace snnir
