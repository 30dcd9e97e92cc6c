// The memory of a running engine: what variables hold, and which of it was ever written.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "machine_standin.hpp"

namespace snnir_standin {

// Which elements of a variable have been written.
class Marks {
 public:
  explicit Marks(std::size_t elements) : words_((elements + 63) / 64) {}

  void set(std::size_t begin, std::size_t count) {
    each(begin, count, [&](std::size_t word, std::uint64_t mask) {
      words_[word] |= mask;
      return true;
    });
  }

  // The first element that is not marked, or the end.
  std::size_t missing(std::size_t begin, std::size_t count) const {
    std::size_t found = begin + count;
    each(begin, count, [&](std::size_t word, std::uint64_t mask) {
      const std::uint64_t unset = mask & ~words_[word];
      if (!unset) return true;
      std::size_t bit = 0;
      while (!(unset >> bit & 1)) ++bit;
      found = word * 64 + bit;
      return false;
    });
    return found;
  }

 private:
  template <class Visit>
  static void each(std::size_t begin, std::size_t count, Visit visit) {
    while (count) {
      const std::size_t low = begin % 64, part = std::min<std::size_t>(count, 64 - low);
      const std::uint64_t ones = part == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << part) - 1;
      if (!visit(begin / 64, ones << low)) return;
      begin += part, count -= part;
    }
  }
  std::vector<std::uint64_t> words_;
};

struct Move {
  unsigned char* to;
  const unsigned char* from;
  std::size_t bytes;
};

// Where a transfer of a stream comes from or goes to.
struct Connection {
  unsigned char *begin = nullptr, *end = nullptr, *next = nullptr;
  std::function<void(void*)> callback;
};

struct Poison {
  unsigned char* to;
  std::size_t bytes;
};

struct Replica {
  std::vector<std::unique_ptr<unsigned char[]>> memory;  // of every variable
  std::vector<Marks> written;
  std::vector<void*> vertices;
  std::vector<Connection> streams;
  std::vector<std::vector<Move>> moves;  // of every copy
  std::vector<std::vector<Poison>> outputs;  // of every compute set
  std::vector<bool> checked;             // every operation: it has run, so all it reads is written
};

}  // namespace snnir_standin
