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
#include <string>

namespace {

void add_options(CLI::App& app, Arguments& arguments) {
  app.add_option("--input", arguments.input, "photograph, PNG or JPEG")->required()->check(CLI::ExistingFile);
  app.add_option("--output", arguments.output, "PNG of the result")->required();
  app.add_option("--save-noisy", arguments.noisy_output, "PNG of the photograph with its noise");

  app.add_flag("--grey,!--color", arguments.grey, "work in grey levels instead of colour");
  app.add_option_function<std::array<int, 4>>(
         "--crop",
         [&](std::array<int, 4> const& part) {
           arguments.crop = {.x = part[0], .y = part[1], .width = part[2], .height = part[3]};
         },
         "the part to take: x,y,width,height")
      ->delimiter(',');
  app.add_option("--shrink", arguments.shrink, "make the photograph n times smaller (after --crop)")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();

  auto* const noise =
      app.add_option("--noise", arguments.noise, "standard deviation of the noise, in grey levels of 255")
          ->check(CLI::NonNegativeNumber)
          ->capture_default_str();
  app.add_option("--seed", arguments.seed, "seed of the noise")->capture_default_str();
  app.add_flag("--noisy-input", arguments.input_is_noisy,
               "the photograph has this noise already: add none, compare with nothing")
      ->needs(noise);

  app.add_option(
         "--filter", arguments.filter,
         "strength: how many grey levels alike patches may differ by (default: 0.7 of the noise, 0.5 if the whole "
         "picture is searched)")
      ->check(CLI::PositiveNumber);
  app.add_option("--patch", arguments.patch, "pixels across a patch, odd (default: 5, or 7 in grey)")
      ->check(CLI::PositiveNumber)
      ->check([](std::string const& text) { return std::atoi(text.c_str()) % 2 == 1 ? "" : "must be odd"; });
  auto* const search =
      app.add_option("--search", arguments.search,
                     "compare a pixel with those at most so many rows and columns away (default: 12 on processors, the "
                     "whole picture on accelerators)")
          ->check(CLI::NonNegativeNumber);
  app.add_flag("--full", arguments.full, "compare every pixel with the whole picture")->excludes(search);
  app.add_option("--type", arguments.type, "scalar type of the attention")
      ->check(CLI::IsMember({"double", "float", "half", "bfloat16"}))
      ->capture_default_str();
}

}  // namespace

int main(int argc, char* argv[]) {
  Kokkos::ScopeGuard const kokkos(argc, argv);
  Arguments arguments;
  CLI::App app("Removes noise from a photograph by non-local means, computed as exact attention.");
  add_options(app, arguments);
  CLI11_PARSE(app, argc, argv);
  try {
    run(arguments);
  } catch (std::exception const& error) {
    std::cerr << "denoise: " << error.what() << "\n";
    return EXIT_FAILURE;
  }
}
