// The rules of a copy, and what it moves between tiles.
#pragma once

#include "machine_standin.hpp"

namespace snnir_standin {

inline std::string copy_text(const Step& step) { return "copy " + quoted(step.name); }

inline void check_written_once(const Machine& machine, const Step& step) {
  const std::vector<Range> to = sorted(step.destination.standin_ranges());
  for (std::size_t i = 1; i < to.size(); ++i)
    if (to[i - 1].variable == to[i].variable && to[i - 1].begin + to[i - 1].count > to[i].begin)
      fail(copy_text(step) + " writes element " + text(to[i].begin) + " of variable " +
           quoted(machine.variables[to[i].variable].name) + " twice");
}

inline void check_disjoint(const Machine& machine, const Step& step) {
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
  Bytes pieces = 0;        // of one copy: from a tile to a tile, each one run of memory on both
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
inline void union_of(std::vector<Sent>& pieces, Count count) {
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

inline Traffic traffic_of(const Machine& machine, const Step& step) {
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
      ++traffic.pieces;
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

}  // namespace snnir_standin
