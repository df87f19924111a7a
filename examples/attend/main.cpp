// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "arguments.hpp"
#include "run.hpp"

#include <CLI/CLI.hpp>
#include <Kokkos_Core.hpp>

#include <array>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <map>
#include <string>

namespace {

void add_options(CLI::App& app, Arguments& arguments) {
  using KokkosAttention::Alignment;
  using KokkosAttention::index_t;
  Settings& settings = arguments.settings;

  app.add_option("--q", arguments.q, "queries (batch, heads, q_len, head_dim)")->required()->check(CLI::ExistingFile);
  app.add_option("--k", arguments.k, "keys (batch, kv_heads, k_len, head_dim)")->required()->check(CLI::ExistingFile);
  app.add_option("--v", arguments.v, "values (batch, kv_heads, k_len, value_dim)")
      ->required()
      ->check(CLI::ExistingFile);
  app.add_option("--mask", arguments.mask, "bool, true = this query may attend to this key")->check(CLI::ExistingFile);
  app.add_option("--bias", arguments.bias, "added to the scaled scores")->check(CLI::ExistingFile);
  app.add_option("--output", arguments.output, "where to write the output");
  app.add_option("--lse", arguments.lse, "where to write the log-sum-exp (batch, heads, q_len)");

  app.add_flag("--causal", settings.causal, "a query sees keys up to its diagonal only");
  app.add_option("--alignment", settings.alignment, "where the diagonal lies if q_len and k_len differ")
      ->transform(CLI::CheckedTransformer(std::map<std::string, Alignment>{{"bottom_right", Alignment::bottom_right},
                                                                           {"top_left", Alignment::top_left}}))
      ->default_str("bottom_right");
  app.add_option_function<std::array<index_t, 2>>(
         "--window",
         [&](std::array<index_t, 2> const& window) { settings.window = {.left = window[0], .right = window[1]}; },
         "left,right: keys around the diagonal that a query sees, -1 = all")
      ->delimiter(',');
  app.add_option("--softcap", settings.softcap, "bounds the scores to +-c by c tanh(score / c)");
  app.add_option("--scale", settings.scale, "factor on q.k (default: 1 / sqrt(head_dim))");
  app.add_flag("--alibi", settings.alibi, "linear biases with the slopes 2^(-8 h / heads), h = 1, 2, ...");
  app.add_option("--type", arguments.type, "type to compute in, to which the arrays are rounded (default: that of q)")
      ->check(CLI::IsMember({"double", "float", "half", "bfloat16"}));

  app.add_option("--runs", arguments.runs, "runs to time")->check(CLI::PositiveNumber)->capture_default_str();
  auto* const check = app.add_flag("--check", arguments.check, "compare with a computation in double on the host");
  app.add_option("--tolerance", arguments.tolerance, "fail if the largest relative error is above this")->needs(check);
}

}  // namespace

int main(int argc, char* argv[]) {
  Kokkos::ScopeGuard const kokkos(argc, argv);
  Arguments arguments;
  CLI::App app(
      "Attention of arrays in .npy files. Arrays of fewer than four dimensions get leading ones of extent 1; "
      "an extent of 1 of mask and bias broadcasts.");
  add_options(app, arguments);
  CLI11_PARSE(app, argc, argv);
  try {
    run(arguments);
  } catch (std::exception const& error) {
    std::cerr << "attend: " << error.what() << "\n";
    return EXIT_FAILURE;
  }
}
