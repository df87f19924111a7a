// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "run.hpp"

#include "model.hpp"
#include "picture.hpp"
#include "problem.hpp"
#include "squared_error.hpp"
#include "tensor.hpp"

#include <Kokkos_Core.hpp>

#include <algorithm>
#include <cstdio>
#include <random>
#include <stdexcept>

namespace {

/// The error of a model that predicts 0.
double variance(Fields const& fields) {
  Tensor const zero("zero", 1, 1, fields.targets.extent(2), fields.targets.extent(3));
  return mean_squared_error(zero, fields.targets);
}

/// The weights that the model has learned: what it predicts from readings that are the columns of the identity.
Tensor weights(Model& model, int sensors) {
  return model.predict(make_tensor("identity", sensors, sensors, [](int i, int j) { return i == j ? 1. : 0.; }));
}

/// The part of all weight that broken sensors have.
double weight_of_broken(Tensor const& learned, Problem const& problem) {
  auto const weight = on_host(learned);
  double sum        = 0.;
  for (int j = 0; j < problem.sensors(); ++j)
    if (problem.is_broken(j))
      for (int i = 0; i < problem.positions(); ++i) sum += weight(0, 0, i, j);
  return sum / problem.positions();
}

/// Trains on one batch of fields after the other, and prints a line every tenth of the way.
void train(Model& model, Fields const& training, Fields const& held_out, Arguments const& arguments) {
  int const batch          = std::min(arguments.batch, training.number());
  int const batches        = training.number() / batch;
  int const interval       = std::max(arguments.steps / 10, 1);
  double const of_training = variance(training);
  double const of_held_out = variance(held_out);
  Descent const descent    = {.rate = arguments.rate, .momentum = arguments.momentum};
  std::printf("\n    step   training   held-out   (mean squared error / variance)\n");
  for (int step = 0; step <= arguments.steps; ++step) {
    if (step % interval == 0)
      std::printf("%8d   %8.4f   %8.4f\n", step, model.error(training) / of_training,
                  model.error(held_out) / of_held_out);
    int const begin = step % batches * batch;
    if (step < arguments.steps) model.train(training.part(begin, begin + batch), descent);
  }
  std::printf("\n");
}

}  // namespace

void run(Arguments const& arguments) {
  std::mt19937_64 random(arguments.seed);
  Problem const problem(arguments.sensors, arguments.positions, arguments.broken, random);
  Fields const training = problem.draw(arguments.fields, random);
  Fields const held_out = problem.draw(arguments.fields, random);
  Model model(arguments.positions, arguments.sensors, arguments.head_dim, arguments.dropout, random);
  std::printf("sensors    %d, of which %d are broken\n", problem.sensors(), problem.broken_sensors());
  std::printf("positions  %d\n", problem.positions());
  std::printf("fields     %d to train on, %d held out\n", training.number(), held_out.number());
  std::printf("training   %d steps of %d fields, rate %g, momentum %g, dropout %g, head_dim %d\n", arguments.steps,
              arguments.batch, arguments.rate, arguments.momentum, arguments.dropout, arguments.head_dim);

  double const untrained = model.error(held_out);
  Kokkos::Timer const timer;
  train(model, training, held_out, arguments);
  double const seconds = timer.seconds();

  double const error = model.error(held_out), scale = variance(held_out);
  Tensor const learned = weights(model, problem.sensors());
  std::printf("time       %.2f s\n", seconds);
  std::printf("error      %.4f of the variance, %.4f of the error before training\n", error / scale, error / untrained);
  std::printf("           %.4f of the variance with the true weights, those of broken sensors left out\n",
              problem.informed_error(held_out) / scale);
  std::printf("broken     %.1f %% of the sensors have %.2f %% of the weight\n",
              100. * problem.broken_sensors() / problem.sensors(), 100. * weight_of_broken(learned, problem));
  if (!arguments.output.empty()) {
    save_weights(arguments.output, learned, problem);
    std::printf("written    %s\n", arguments.output.c_str());
  }
  // Written so that NaN fails too.
  if (arguments.bound && !(error <= *arguments.bound * scale))
    throw std::runtime_error("the held-out error is above the bound");
}
