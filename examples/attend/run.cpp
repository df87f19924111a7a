// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "run.hpp"

#include "errors.hpp"
#include "npy.hpp"
#include "reference.hpp"
#include "tensors.hpp"

#include <KokkosAttention.hpp>

#include <Kokkos_Core.hpp>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using KokkosAttention::index_t;

/// The arrays of the files.
struct Inputs {
  NpyArray q, k, v;
  std::optional<NpyArray> mask, bias;
};

/// A call of attention in type T, all of whose arrays lie where it runs.
template <KokkosAttention::Scalar T>
struct Call {
  using Space        = Kokkos::DefaultExecutionSpace;
  using Accumulation = KokkosAttention::accumulation_t<T>;

  Tensor<T> q, k, v, bias, out;
  Tensor<bool> mask;
  Kokkos::View<Accumulation***, Kokkos::LayoutRight, DeviceMemory> lse;
  KokkosAttention::options_t<Tensor<T>> options;

  void run() const { KokkosAttention::forward(Space(), q, k, v, out, lse, options); }
  std::string describe() const { return KokkosAttention::describe(Space(), q, k, v, out, options); }
};

template <class Accumulation>
auto alibi_slopes(int heads) {
  Kokkos::View<Accumulation*, DeviceMemory> const slopes("ALiBi slopes", heads);
  auto const host = Kokkos::create_mirror_view(slopes);
  for (int h = 0; h < heads; ++h) host(h) = static_cast<Accumulation>(Settings::alibi_slope(h, heads));
  Kokkos::deep_copy(slopes, host);
  return slopes;
}

template <KokkosAttention::Scalar T>
Call<T> make_call(Inputs const& inputs, Settings const& settings) {
  Call<T> call;
  call.q = to_tensor<T>(inputs.q, "q");
  call.k = to_tensor<T>(inputs.k, "k");
  call.v = to_tensor<T>(inputs.v, "v");
  if (inputs.mask) call.mask = to_tensor<bool>(*inputs.mask, "mask");
  if (inputs.bias) call.bias = to_tensor<T>(*inputs.bias, "bias");

  std::size_t const batch = call.q.extent(0), heads = call.q.extent(1), q_len = call.q.extent(2);
  call.out     = Tensor<T>("out", batch, heads, q_len, call.v.extent(3));
  call.lse     = decltype(call.lse)("lse", batch, heads, q_len);
  call.options = {.scale     = settings.scale,
                  .causal    = settings.causal,
                  .alignment = settings.alignment,
                  .window    = settings.window,
                  .softcap   = settings.softcap};
  if (inputs.mask) call.options.mask = call.mask;
  if (inputs.bias) call.options.bias = call.bias;
  if (settings.alibi) call.options.alibi_slopes = alibi_slopes<typename Call<T>::Accumulation>(static_cast<int>(heads));
  return call;
}

/// The median of the seconds that a call takes, after one that warms up.
template <class F>
double median_seconds(F const& call, int runs) {
  call();
  Kokkos::fence();
  std::vector<double> seconds(runs);
  for (double& time : seconds) {
    Kokkos::Timer const timer;
    call();
    Kokkos::fence();
    time = timer.seconds();
  }
  std::ranges::nth_element(seconds, seconds.begin() + runs / 2);
  return seconds[runs / 2];
}

/// Floating-point operations of the two products, for the pairs that causal and window leave.
template <KokkosAttention::Scalar T>
double operations(Call<T> const& call, Settings const& settings) {
  auto const q_len = static_cast<index_t>(call.q.extent(2)), k_len = static_cast<index_t>(call.k.extent(2));
  double pairs = 0.;
  for (index_t i = 0; i < q_len; ++i) {
    auto const keys = settings.keys(i, q_len, k_len);
    pairs += static_cast<double>(keys.end - keys.begin);
  }
  return 2. * pairs * static_cast<double>(call.q.extent(0) * call.q.extent(1) * (call.q.extent(3) + call.v.extent(3)));
}

void print(char const* what, Errors const& errors) {
  std::printf("error of %-3s    max %.2e (%.2e of the largest magnitude), mean %.2e (%.2e of the mean magnitude)\n",
              what, errors.maximum, errors.relative_maximum(), errors.mean, errors.relative_mean());
}

/// Compares with the reference, whose input is rounded to T as the call's is: what is measured is the computation.
template <KokkosAttention::Scalar T>
void check(Call<T> const& call, Settings const& settings, std::optional<double> tolerance) {
  ReferenceInput input{.q = to_double(call.q), .k = to_double(call.k), .v = to_double(call.v), .bias = {}, .mask = {}};
  if (call.bias.data() != nullptr) input.bias = to_double(call.bias);
  if (call.mask.data() != nullptr) input.mask = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), call.mask);
  ReferenceOutput const reference = reference_attention(input, settings);

  auto const out          = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), call.out);
  auto const lse          = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), call.lse);
  Errors const out_errors = compare(out.data(), reference.out.data(), out.span());
  Errors const lse_errors = compare(lse.data(), reference.lse.data(), lse.span());
  print("out", out_errors);
  print("LSE", lse_errors);
  if (tolerance && std::max(out_errors.relative_maximum(), lse_errors.relative_maximum()) > *tolerance)
    throw std::runtime_error("the largest relative error is above the tolerance");
}

/// The shape of q with another last dimension, or without it.
std::vector<std::size_t> output_shape(std::vector<std::size_t> shape, std::optional<std::size_t> last) {
  shape.pop_back();
  if (last) shape.push_back(*last);
  return shape;
}

template <KokkosAttention::Scalar T>
void run(Inputs const& inputs, Arguments const& arguments) {
  Call<T> const call = make_call<T>(inputs, arguments.settings);
  std::printf("%s", call.describe().c_str());
  double const seconds = median_seconds([&] { call.run(); }, arguments.runs);
  std::printf("time            %.4g ms, median of %d runs after a warm-up\n", seconds * 1e3, arguments.runs);
  std::printf("rate            %.4g TFLOP/s%s\n", operations(call, arguments.settings) / seconds * 1e-12,
              inputs.mask ? " (pairs that the mask hides are counted)" : "");
  if (arguments.check) check(call, arguments.settings, arguments.tolerance);
  if (!arguments.output.empty())
    save_npy(arguments.output, to_array(call.out, output_shape(inputs.q.shape, call.v.extent(3))));
  if (!arguments.lse.empty()) save_npy(arguments.lse, to_array(call.lse, output_shape(inputs.q.shape, {})));
}

/// The name, in --type, of the type of an array.
std::string type_of(NpyArray const& array) {
  switch (array.type) {
    case NpyType::float16:
      return "half";
    case NpyType::float32:
      return "float";
    case NpyType::float64:
      return "double";
    case NpyType::boolean:
      break;
  }
  throw std::invalid_argument("q must hold floating-point numbers, not bool");
}

}  // namespace

void run(Arguments const& arguments) {
  Inputs inputs{
      .q = load_npy(arguments.q), .k = load_npy(arguments.k), .v = load_npy(arguments.v), .mask = {}, .bias = {}};
  if (inputs.q.shape.size() < 2) throw std::invalid_argument("q must have at least 2 dimensions: length and head_dim");
  if (!arguments.mask.empty()) inputs.mask = load_npy(arguments.mask);
  if (!arguments.bias.empty()) inputs.bias = load_npy(arguments.bias);

  std::string const type = arguments.type.empty() ? type_of(inputs.q) : arguments.type;
  if (type == "double") return run<double>(inputs, arguments);
  if (type == "float") return run<float>(inputs, arguments);
  if (type == "half") return run<KokkosAttention::half_t>(inputs, arguments);
  return run<KokkosAttention::bhalf_t>(inputs, arguments);
}
