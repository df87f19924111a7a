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
  app.add_option("--sensors", arguments.sensors, "sensors: the keys")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--positions", arguments.positions, "positions to predict the field around: the queries")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--broken", arguments.broken, "part of the sensors that reads nothing but noise")
      ->check(CLI::Range(0., 0.9))
      ->capture_default_str();

  app.add_option("--head-dim", arguments.head_dim, "dimension of queries and keys")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--steps", arguments.steps, "steps of gradient descent")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--fields", arguments.fields, "fields to train on; as many are held out")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--batch", arguments.batch, "fields a step")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--rate", arguments.rate, "learning rate")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--momentum", arguments.momentum, "part of its velocity that a parameter keeps in a step")
      ->check(CLI::Range(0., 1.))
      ->capture_default_str();
  app.add_option("--dropout", arguments.dropout, "part of the weights that a training step drops")
      ->check(CLI::Range(0., 1.))
      ->capture_default_str();
  app.add_option("--seed", arguments.seed, "seed of everything random")->capture_default_str();

  app.add_option("--output", arguments.output, "PNG of the learned and the true weights");
  app.add_option("--bound", arguments.bound, "fail if the held-out error divided by the variance is above this");
}

}  // namespace

int main(int argc, char* argv[]) {
  Kokkos::ScopeGuard const kokkos(argc, argv);
  Arguments arguments;
  CLI::App app("Learns, by the library's gradients, which sensors tell how large a field is at a position.");
  add_options(app, arguments);
  CLI11_PARSE(app, argc, argv);
  try {
    run(arguments);
  } catch (std::exception const& error) {
    std::cerr << "fit: " << error.what() << "\n";
    return EXIT_FAILURE;
  }
}
