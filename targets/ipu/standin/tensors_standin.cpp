// Tensors: lists of ranges of variables, in order; adjacent ranges are one.
#include "machine_standin.hpp"

namespace poplar {

using namespace snnir_standin;

const std::vector<Range>& Tensor::standin_ranges() const {
  static const std::vector<Range> none;
  return ranges_ ? *ranges_ : none;
}

Tensor Tensor::with(std::vector<Range> ranges, std::vector<std::size_t> shape) const {
  Tensor made(*this);
  made.elements_ = product(shape);
  made.shape_ = std::move(shape);
  made.ranges_ = std::make_shared<const std::vector<Range>>(std::move(ranges));
  return made;
}

void Tensor::take(std::size_t begin, std::size_t end, std::vector<Range>& into) const {
  if (begin >= end) return;
  const std::vector<Range>& ranges = *ranges_;
  auto range = std::upper_bound(ranges.begin(), ranges.end(), begin,
                                [](std::size_t at, const Range& r) { return at < r.at; }) -
               1;
  while (begin < end) {
    const std::size_t skip = begin - range->at;
    const std::size_t count = std::min(range->count - skip, end - begin);
    append(into, {0, range->begin + skip, count, range->variable});
    begin += count;
    ++range;
  }
}

Tensor Tensor::operator[](std::size_t index) const {
  if (shape_.empty() || index >= shape_[0])
    fail("Tensor[" + text(index) + "]: there is no such row");
  Tensor row = slice(index, index + 1);
  row.shape_.erase(row.shape_.begin());
  return row;
}

Tensor Tensor::slice(std::size_t begin, std::size_t end, unsigned dimension) const {
  if (dimension >= shape_.size() || begin > end || end > shape_[dimension])
    fail("Tensor::slice" + span(begin, end) + " of dimension " + text(dimension) +
         " is not in the tensor");
  const std::size_t inner = product(shape_, dimension + 1), whole = shape_[dimension] * inner;
  std::vector<Range> ranges;
  for (std::size_t start = 0; start < elements_; start += whole)
    take(start + begin * inner, start + end * inner, ranges);
  std::vector<std::size_t> shape(shape_);
  shape[dimension] = end - begin;
  return with(std::move(ranges), std::move(shape));
}

Tensor Tensor::reshape(const std::vector<std::size_t>& shape) const {
  if (product(shape) != elements_)
    fail("Tensor::reshape of " + text(elements_) + " elements to " + text(product(shape)));
  Tensor made(*this);
  made.shape_ = shape;
  return made;
}

Tensor Tensor::flatten() const { return reshape({elements_}); }

Tensor Tensor::dimShuffle(const std::vector<unsigned>& permutation) const {
  const std::size_t rank = shape_.size();
  std::vector<unsigned> axes(permutation);
  std::sort(axes.begin(), axes.end());
  bool every = axes.size() == rank;
  for (std::size_t axis = 0; every && axis < rank; ++axis) every = axes[axis] == axis;
  if (!every) fail("Tensor::dimShuffle needs every dimension once");
  std::size_t moved = rank;  // dimensions from here on keep their places and move as one
  while (moved && permutation[moved - 1] == moved - 1) --moved;
  std::vector<std::size_t> shape, steps;
  for (unsigned axis : permutation) {
    shape.push_back(shape_[axis]);
    steps.push_back(product(shape_, axis + 1));
  }
  const std::size_t block = product(shape_, moved);
  std::vector<Range> ranges;
  std::vector<std::size_t> at(moved);
  for (std::size_t done = 0; done < elements_; done += block) {
    std::size_t start = 0;
    for (std::size_t axis = 0; axis < moved; ++axis) start += at[axis] * steps[axis];
    take(start, start + block, ranges);
    for (std::size_t axis = moved; axis-- > 0 && ++at[axis] == shape[axis];) at[axis] = 0;
  }
  return with(std::move(ranges), std::move(shape));
}

Tensor concat(const std::vector<Tensor>& parts, unsigned dimension) {
  if (parts.empty()) fail("concat of nothing");
  const Tensor& first = parts[0];
  std::vector<std::size_t> shape(first.shape_);
  if (dimension >= shape.size()) fail("concat: there is no dimension " + text(dimension));
  shape[dimension] = 0;
  for (const Tensor& part : parts) {
    if (part.machine_ != first.machine_ || part.type_name_ != first.type_name_)
      fail("concat of tensors of different types or graphs");
    std::vector<std::size_t> other(part.shape_);
    if (other.size() == shape.size()) other[dimension] = shape[dimension];
    if (other != shape) fail("concat: shapes differ in more than dimension " + text(dimension));
    shape[dimension] += part.shape_[dimension];
  }
  std::size_t outer = 1;
  for (unsigned axis = 0; axis < dimension; ++axis) outer *= shape[axis];
  std::vector<Range> ranges;
  for (std::size_t block = 0; block < outer; ++block)
    for (const Tensor& part : parts) {
      const std::size_t size = part.elements_ / outer;
      part.take(block * size, (block + 1) * size, ranges);
    }
  return first.with(std::move(ranges), std::move(shape));
}

}  // namespace poplar
