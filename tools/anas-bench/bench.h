// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to anas-bench: command line, and what its commands share. One file a command: kernels.c, model.c,
// threads.c, child.c. Every command prints JSON, one object a line; the first describes the machine.
#ifndef ANAS_TOOLS_BENCH_H
#define ANAS_TOOLS_BENCH_H

#include "passes/cpu/cpu.h"
#include "passes/lower/compile.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

// ---- command line (options.c)

struct command;
struct options {
  const struct command *command;
  char **models; // files, or names of the zoo; "-" is standard input
  int num_models;
  int64_t height, width, channels, classes; // 0: what the network of the zoo is usually built for
  int64_t batch, threads;                   // threads 0: the team's own size
  const char *cpu;                          // null: the host
  const char *precision;                    // null: f32
  bool no_cache, no_winograd, tune;
  // kernels
  const char *filter;
  double seconds;
  bool functions, cold;
  // model
  const char *dataset, *data;
  int64_t steps;
  // child
  int64_t children, seed;
  const char *mutation;
};

struct command {
  const char *name, *summary;
  bool needs_model;
  anas_status (*run)(const struct options *options);
};
extern const struct command command_kernels, command_model, command_threads, command_child;

// Parses argv; --help and --version print and set *out_exit.
anas_status options_parse(int argc, char **argv, struct options *out, bool *out_exit);
struct anas_compile_options options_compile(const struct options *options);

// ---- shared (shared.c)

void print_json(json_t *object); // one line, flushed; takes the object
json_t *json_rate(double value); // 0 and less, not a number: null
double load_average(void);       // of the last minute
// {"bench": "machine", ...}: processor, threads, FMA peak, memory bandwidth, load. peak: null, or receives GFLOP/s.
anas_status print_machine(const struct options *options, double *out_peak);
// A module from a file or, if the name is one of the zoo's, of that network.
anas_status load_model(const struct options *options, const char *name, MlirContext context, MlirModule *out);
// Name a module is reported under: a file without its folders and ending.
char *model_name(const char *model);        // malloc'ed
int64_t peak_rss(void);                     // bytes, of this process so far
void fill_floats(void *data, size_t bytes); // small numbers of both signs
void *
huge_alloc(size_t bytes); // zeroed, on huge pages if they are worth it; null if there is none; release with huge_free
void huge_free(void *memory);

// Initial values of a program's parameters, and a batch of images, for steps without a data set.
anas_status start_program(struct anas_program *program);
// An empty folder, and its end with everything in it (scratch.c).
anas_status scratch_create(char **out_path);
void scratch_remove(char *path); // null is fine; releases the path

// A growing list of measurements.
struct samples {
  double *value;
  size_t count, capacity;
};
void samples_add(struct samples *samples, double value);
double samples_median(struct samples *samples); // sorts
void samples_deinit(struct samples *samples);

#endif
