// What codelets see of Poplar, for compilers of this machine: our own code, names as in Graphcore's
// public sources. Only these names exist, so that a codelet that needs others does not compile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace snnir_standin {

inline std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float float_of(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// To the nearest half, ties to even; below the normal range steps are 2^-24; NaN stays NaN.
inline std::uint16_t half_of(float value) {
  const std::uint32_t bits = bits_of(value);
  const std::uint32_t sign = bits >> 16 & 0x8000u;
  const std::uint32_t size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u | (size >> 13 & 0x3ffu));
  if (size >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
  if (size < 0x38800000u) {
    // Adding 1/2 shifts the steps of 2^-24 to the end of the float, whose own rounding does it.
    const float shifted = float_of(size) + 0.5f;
    return static_cast<std::uint16_t>(sign | (bits_of(shifted) - 0x3f000000u));
  }
  const std::uint32_t rounded = size + 0xfffu + (size >> 13 & 1u) - 0x38000000u;
  return static_cast<std::uint16_t>(sign | rounded >> 13);
}

inline float half_value(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t exponent = half >> 10 & 0x1fu;
  const std::uint32_t fraction = half & 0x3ffu;
  if (exponent == 0) {
    const float small = static_cast<float>(fraction) * 5.9604644775390625e-08f;  // 2^-24
    return float_of(bits_of(small) | sign);
  }
  const std::uint32_t wide = exponent == 31 ? 255u : exponent + 112u;
  return float_of(sign | wide << 23 | fraction << 13);
}

// Ends the program: a codelet reached beyond what is connected to its field.
[[noreturn]] void outside(const char* field, std::size_t index, std::size_t count);

}  // namespace snnir_standin

namespace poplar {

struct half {
  std::uint16_t bits;
  half() = default;
  half(float value) : bits(snnir_standin::half_of(value)) {}
  operator float() const { return snnir_standin::half_value(bits); }
};

// Templates, so that only two halves meet here: with a float the other one becomes a float.
// The float result of one operation, rounded to half, is the operation rounded once.
template <class T>
using if_half = std::enable_if_t<std::is_same<T, half>::value, half>;
template <class T>
if_half<T> operator+(T a, T b) {
  return half(static_cast<float>(a) + static_cast<float>(b));
}
template <class T>
if_half<T> operator-(T a, T b) {
  return half(static_cast<float>(a) - static_cast<float>(b));
}
template <class T>
if_half<T> operator*(T a, T b) {
  return half(static_cast<float>(a) * static_cast<float>(b));
}
template <class T>
if_half<T> operator/(T a, T b) {
  return half(static_cast<float>(a) / static_cast<float>(b));
}
template <class T>
half& operator+=(half& a, T b) {
  return a = half(a + b);
}
template <class T>
half& operator-=(half& a, T b) {
  return a = half(a - b);
}
template <class T>
half& operator*=(half& a, T b) {
  return a = half(a * b);
}

class Vertex {};

enum class VectorLayout { SPAN, ONE_PTR };

template <class T, VectorLayout Layout = VectorLayout::SPAN, unsigned Alignment = alignof(T)>
class Vector {
 public:
  using Element = T;
  static constexpr VectorLayout layout = Layout;
  static constexpr unsigned alignment = Alignment;

  T& operator[](std::size_t index) const {
#ifdef SNNIR_CHECKED
    if (index >= count_) snnir_standin::outside(field_, index, count_);
#endif
    return data_[index];
  }

  template <VectorLayout Given = Layout>
  unsigned size() const {
    static_assert(Given == VectorLayout::SPAN, "ONE_PTR has no size");
    return static_cast<unsigned>(count_);
  }

  void standin_connect(void* data, std::size_t count, const char* field) {
    data_ = static_cast<T*>(data);
    count_ = count;
    field_ = field;
  }

 private:
  T* data_ = nullptr;
  std::size_t count_ = 0;
  const char* field_ = "";
};

template <class T>
class Input;
template <class T, VectorLayout Layout, unsigned Alignment>
class Input<Vector<T, Layout, Alignment>> : public Vector<const T, Layout, Alignment> {
 public:
  void standin_connect(void* data, std::size_t count, const char* field) {
    Vector<const T, Layout, Alignment>::standin_connect(const_cast<void*>(data), count, field);
  }
};
template <class T>
class Output;
template <class T, VectorLayout Layout, unsigned Alignment>
class Output<Vector<T, Layout, Alignment>> : public Vector<T, Layout, Alignment> {};
template <class T>
class InOut;
template <class T, VectorLayout Layout, unsigned Alignment>
class InOut<Vector<T, Layout, Alignment>> : public Vector<T, Layout, Alignment> {};

}  // namespace poplar

using poplar::half;

// What popc finds out by itself: the classes and their fields. `registry.py` writes the calls.
namespace snnir_standin {

enum class Access { input, output, inout, scalar };

struct Field {
  const char* name;
  Access access;
  const char* type;
  unsigned bytes;      // of one element
  unsigned alignment;  // of the first element
  unsigned slot;       // bytes in the vertex's own memory: a pointer, a pointer and a size, a value
  // Connects memory, or sets a scalar from where its value is.
  void (*set)(void* vertex, void* data, std::size_t count, const char* name);
};

struct VertexKind {
  const char* name;
  const Field* fields;
  std::size_t field_count;
  void* (*create)();
  void (*destroy)(void* vertex);
  bool (*compute)(void* vertex);
};

bool add_kind(const VertexKind& kind);

template <class T>
constexpr const char* type_name() {
  using U = std::remove_const_t<T>;
  if constexpr (std::is_same_v<U, float>) return "float";
  else if constexpr (std::is_same_v<U, poplar::half>) return "half";
  else if constexpr (std::is_same_v<U, int>) return "int";
  else if constexpr (std::is_same_v<U, unsigned>) return "unsigned int";
  else if constexpr (std::is_same_v<U, unsigned short>) return "unsigned short";
  else if constexpr (std::is_same_v<U, short>) return "short";
  else if constexpr (std::is_same_v<U, signed char>) return "signed char";
  else if constexpr (std::is_same_v<U, unsigned char>) return "unsigned char";
  else if constexpr (std::is_same_v<U, long long>) return "long long";
  else static_assert(sizeof(T) == 0, "a type that no variable has");
}

template <class T>
struct Shape {
  static constexpr Access access = Access::scalar;
  using Element = T;
  static constexpr unsigned alignment = alignof(T);
  static constexpr unsigned slot = sizeof(T);
  static void set(T& field, void* data, std::size_t, const char*) {
    std::memcpy(&field, data, sizeof field);
  }
};
template <class F, Access A>
struct VectorShape {
  static constexpr Access access = A;
  using Element = typename F::Element;
  static constexpr unsigned alignment = F::alignment;
  static constexpr unsigned slot = F::layout == poplar::VectorLayout::SPAN ? 8 : 4;
  static void set(F& field, void* data, std::size_t count, const char* name) {
    field.standin_connect(data, count, name);
  }
};
template <class T>
struct Shape<poplar::Input<T>> : VectorShape<poplar::Input<T>, Access::input> {};
template <class T>
struct Shape<poplar::Output<T>> : VectorShape<poplar::Output<T>, Access::output> {};
template <class T>
struct Shape<poplar::InOut<T>> : VectorShape<poplar::InOut<T>, Access::inout> {};

template <class Class, class Member, Member Class::*Place>
Field field_of(const char* name) {
  using S = Shape<Member>;
  using Element = typename S::Element;
  return {name, S::access, type_name<Element>(), sizeof(Element), S::alignment, S::slot,
          [](void* vertex, void* data, std::size_t count, const char* field) {
            S::set(static_cast<Class*>(vertex)->*Place, data, count, field);
          }};
}

template <class Class>
VertexKind kind_of(const char* name, const Field* fields, std::size_t count) {
  static_assert(std::is_base_of_v<poplar::Vertex, Class>);
  return {name, fields, count, [] { return static_cast<void*>(new Class()); },
          [](void* vertex) { delete static_cast<Class*>(vertex); },
          [](void* vertex) { return static_cast<bool>(static_cast<Class*>(vertex)->compute()); }};
}

}  // namespace snnir_standin
