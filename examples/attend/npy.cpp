// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "npy.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <string_view>
#include <system_error>

static_assert(std::endian::native == std::endian::little, "the files are little-endian and read as they are");

namespace {

constexpr std::string_view magic = "\x93NUMPY";
constexpr NpyType all_types[]    = {NpyType::float16, NpyType::float32, NpyType::float64, NpyType::boolean};

std::string_view descriptor(NpyType type) {
  switch (type) {
    case NpyType::float16:
      return "<f2";
    case NpyType::float32:
      return "<f4";
    case NpyType::float64:
      return "<f8";
    case NpyType::boolean:
      return "|b1";
  }
  throw std::logic_error("no such NpyType");
}

void require(bool condition, std::string const& problem) {
  if (!condition) throw std::runtime_error(problem);
}

std::string quoted(std::string_view text) { return std::string(1, '\'').append(text).append(1, '\''); }

/// What the header says, a Python dictionary such as {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }.
class Header {
  std::string_view m_text;

  /// What follows a key.
  std::string_view value(std::string_view key) const {
    std::size_t position = m_text.find(quoted(key));
    require(position != m_text.npos, "its header has no " + std::string(key));
    position = m_text.find(':', position);
    require(position != m_text.npos, "its header has no value for " + std::string(key));
    position = m_text.find_first_not_of(' ', position + 1);
    require(position != m_text.npos, "its header has no value for " + std::string(key));
    return m_text.substr(position);
  }

 public:
  explicit Header(std::string_view text) : m_text(text) {}

  NpyType type() const {
    std::string_view const text = value("descr");
    for (NpyType const type : all_types)
      if (text.starts_with(quoted(descriptor(type)))) return type;
    throw std::runtime_error("it holds " + std::string(text.substr(0, text.find(','))) +
                             ", not float16, float32, float64 ('<f2', '<f4', '<f8') or bool ('|b1')");
  }

  bool fortran_order() const { return value("fortran_order").starts_with("True"); }

  std::vector<std::size_t> shape() const {
    std::string_view text = value("shape");
    require(text.starts_with('(') && text.find(')') != text.npos, "the shape in its header is no tuple");
    text = text.substr(1, text.find(')') - 1);
    std::vector<std::size_t> shape;
    while (true) {
      text.remove_prefix(std::min(text.find_first_not_of(", "), text.size()));
      if (text.empty()) break;
      std::size_t extent      = 0;
      auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), extent);
      require(error == std::errc(), "its shape is not one of lengths: " + std::string(text));
      shape.push_back(extent);
      text.remove_prefix(end - text.data());
    }
    return shape;
  }
};

/// Bytes of an array, or an error if that is more than a machine can address.
std::size_t bytes(std::vector<std::size_t> const& shape, NpyType type) {
  if (std::ranges::count(shape, 0u) > 0) return 0;
  std::size_t result = size_of(type);
  for (std::size_t const extent : shape) {
    require(extent <= std::numeric_limits<std::ptrdiff_t>::max() / result, "its shape is too large");
    result *= extent;
  }
  return result;
}

/// Reverses the order of an array's dimensions in memory.
std::vector<std::byte> from_fortran_order(std::vector<std::byte> const& data, std::vector<std::size_t> const& shape,
                                          std::size_t element_size) {
  std::vector<std::byte> result(data.size());
  std::vector<std::size_t> index(shape.size(), 0);  // of the element to write, the last one running fastest
  for (std::size_t to = 0; to < data.size(); to += element_size) {
    std::size_t from = 0;
    for (std::size_t d = shape.size(); d-- > 0;) from = from * shape[d] + index[d];
    std::copy_n(data.data() + from * element_size, element_size, result.data() + to);
    for (std::size_t d = shape.size(); d-- > 0;) {
      if (++index[d] < shape[d]) break;
      index[d] = 0;
    }
  }
  return result;
}

/// Reads bytes, or throws if the file has fewer.
template <class Container>
Container read(std::istream& file, std::size_t size) {
  Container result;
  result.resize(size);
  file.read(reinterpret_cast<char*>(result.data()), static_cast<std::streamsize>(size));
  require(file.gcount() == static_cast<std::streamsize>(size), "it ends too early");
  return result;
}

NpyArray load(std::istream& file) {
  std::string const begin = read<std::string>(file, magic.size() + 2);
  require(begin.starts_with(magic), "it does not begin as a .npy file");
  int const version = static_cast<unsigned char>(begin[magic.size()]);
  require(version >= 1 && version <= 3, "its format version " + std::to_string(version) + " is unknown");

  std::string const length_bytes = read<std::string>(file, version == 1 ? 2 : 4);
  std::size_t length             = 0;
  for (std::size_t i = length_bytes.size(); i-- > 0;)
    length = length << 8 | static_cast<unsigned char>(length_bytes[i]);
  require(length <= 1 << 20, "its header is too long");
  std::string const text = read<std::string>(file, length);

  Header const header(text);
  NpyArray array{.type = header.type(), .shape = header.shape(), .data = {}};
  std::size_t const size = bytes(array.shape, array.type);
  auto const position    = file.tellg();
  file.seekg(0, std::ios::end);
  auto const found = static_cast<std::size_t>(file.tellg() - position);
  require(found == size, "its data has " + std::to_string(found) + " bytes, its shape needs " + std::to_string(size));
  file.seekg(position);
  array.data = read<std::vector<std::byte>>(file, size);
  if (header.fortran_order()) array.data = from_fortran_order(array.data, array.shape, size_of(array.type));
  return array;
}

}  // namespace

char const* name(NpyType type) {
  switch (type) {
    case NpyType::float16:
      return "float16";
    case NpyType::float32:
      return "float32";
    case NpyType::float64:
      return "float64";
    case NpyType::boolean:
      return "bool";
  }
  throw std::logic_error("no such NpyType");
}

std::size_t size_of(NpyType type) {
  switch (type) {
    case NpyType::float16:
      return 2;
    case NpyType::float32:
      return 4;
    case NpyType::float64:
      return 8;
    case NpyType::boolean:
      return 1;
  }
  throw std::logic_error("no such NpyType");
}

NpyArray load_npy(std::string const& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot open " + path);
  try {
    return load(file);
  } catch (std::runtime_error const& problem) {
    throw std::runtime_error("cannot read " + path + ": " + problem.what());
  }
}

void save_npy(std::string const& path, NpyArray const& array) {
  std::string header = "{'descr': '" + std::string(descriptor(array.type)) + "', 'fortran_order': False, 'shape': (";
  for (std::size_t const extent : array.shape) header += std::to_string(extent) + ", ";
  header += "), }";
  // The data begins at a multiple of 64 bytes: after the magic, two bytes of version, two of length, and the header.
  constexpr std::size_t alignment = 64;
  std::size_t const before        = magic.size() + 4;
  std::size_t const end           = (before + header.size() + 1 + alignment - 1) / alignment * alignment;
  header.resize(end - before - 1, ' ');
  header += '\n';

  std::ofstream file(path, std::ios::binary);
  file << magic << '\x01' << '\x00' << static_cast<char>(header.size() & 0xff) << static_cast<char>(header.size() >> 8)
       << header;
  file.write(reinterpret_cast<char const*>(array.data.data()), static_cast<std::streamsize>(array.data.size()));
  file.close();
  if (!file) throw std::runtime_error("cannot write " + path);
}
