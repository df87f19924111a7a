// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "arguments.hpp"
#include "run.hpp"

#include <CLI/CLI.hpp>
#include <Kokkos_Core.hpp>

#include <cstdlib>
#include <exception>
#include <iostream>

namespace {

void add_options(CLI::App& app, Arguments& arguments) {
  app.add_option("--length", arguments.length, "queries, and keys")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--heads", arguments.heads, "heads")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--head-dim", arguments.head_dim, "dimension of queries, keys and values")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();

  app.add_option("--documents", arguments.documents, "documents in the sequence, of random lengths")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--prefix", arguments.prefix, "keys that every query attends to (default: a quarter of them)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--block", arguments.block, "queries and keys a block of the block-sparse mask")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--stride", arguments.stride, "every so many blocks of keys one that all queries attend to")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();

  app.add_option("--runs", arguments.runs, "runs to time")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--seed", arguments.seed, "seed of the arrays and of the documents")->capture_default_str();
  app.add_option("--tolerance", arguments.tolerance, "fail if a number differs by more than this")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

}  // namespace

int main(int argc, char* argv[]) {
  Kokkos::ScopeGuard const kokkos(argc, argv);
  Arguments arguments;
  CLI::App app("Times attention under several masks, and compares it with attention under the same masks as tables.");
  add_options(app, arguments);
  CLI11_PARSE(app, argc, argv);
  try {
    run(arguments);
  } catch (std::exception const& error) {
    std::cerr << "masks: " << error.what() << "\n";
    return EXIT_FAILURE;
  }
}
