#include <poplar/Vertex.hpp>

// y = x * factor + offset
class Scale : public poplar::Vertex {
 public:
  poplar::Input<poplar::Vector<float, poplar::VectorLayout::SPAN>> x;
  poplar::Output<poplar::Vector<float, poplar::VectorLayout::ONE_PTR>> y;
  float factor;
  int offset;
  bool compute() {
    for (unsigned i = 0; i < x.size(); ++i) y[i] = x[i] * factor + static_cast<float>(offset);
    return true;
  }
};

/* Adds what arrives to a total; reads `length` elements, however many there are. */
class Sum : public poplar::Vertex {
 public:
  poplar::Input<poplar::Vector<unsigned short, poplar::VectorLayout::ONE_PTR>> in;
  poplar::InOut<poplar::Vector<unsigned short, poplar::VectorLayout::ONE_PTR>> total;
  unsigned length;
  bool compute() {
    for (unsigned i = 0; i < length; ++i) total[0] = static_cast<unsigned short>(total[0] + in[i]);
    return length > 0;
  }
};

// Writes one element only; its operand has to start at a multiple of eight bytes.
class Wide : public poplar::Vertex {
 public:
  poplar::Input<poplar::Vector<float, poplar::VectorLayout::ONE_PTR, 8>> in;
  poplar::Output<poplar::Vector<float, poplar::VectorLayout::ONE_PTR, 8>> out;
  bool compute() {
    out[0] = 1.0f / in[0];
    return true;
  }
};

class Halves : public poplar::Vertex {
 public:
  poplar::Input<poplar::Vector<float, poplar::VectorLayout::SPAN>> floats;
  poplar::Input<poplar::Vector<half, poplar::VectorLayout::SPAN>> halves;
  poplar::Output<poplar::Vector<half, poplar::VectorLayout::ONE_PTR>> rounded;
  poplar::Output<poplar::Vector<half, poplar::VectorLayout::ONE_PTR>> folded;
  poplar::Output<poplar::Vector<float, poplar::VectorLayout::ONE_PTR>> widened;
  bool compute() {
    for (unsigned i = 0; i < floats.size(); ++i) rounded[i] = floats[i];
    for (unsigned i = 0; i < halves.size(); ++i) {
      widened[i] = halves[i];
      folded[i] = halves[i] * halves[i] + halves[i];
    }
    return true;
  }
};
