// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Command line of anas-train.
#ifndef ANAS_TOOLS_TRAIN_OPTIONS_H
#define ANAS_TOOLS_TRAIN_OPTIONS_H

#include "runtime/support/status.h"

#include "passes/train/optimizer.h"
#include "runtime/trainer.h"

#include <stdbool.h>
#include <stdint.h>

struct options {
  const char *model, *dataset, *data, *device;
  const char *weights;     // --weights: start from, or evaluate, these
  const char *save;        // --save
  const char *compile_cpu; // --cpu
  const char *precision;   // --precision
  bool compile_report;     // --compile-report
  const char *report_path; // its file, null: standard output
  bool tune;               // --tune
  bool on_device;          // --device is not cpu
  bool resume, json, eval_only, augment, no_shuffle, no_cache, no_winograd, reference, profile;
  int64_t epochs, max_steps, batch, seed, limit, validation, threads;
  uint64_t memory_limit; // bytes of the process; 0: none
  double learning_rate, warmup;
  enum anas_schedule schedule;
  struct anas_optimizer optimizer;
};

// Parses argv. --help and --version print and set *out_exit; the caller then exits with 0.
anas_status options_parse(int argc, char **argv, struct options *out, bool *out_exit);

#endif
