// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What anas-train prints: a progress line on a terminal, plain lines elsewhere, JSON objects with --json.
#ifndef ANAS_TOOLS_TRAIN_REPORT_H
#define ANAS_TOOLS_TRAIN_REPORT_H

#include "runtime/trainer.h"

struct report {
  bool json, terminal;
  double last_update;  // anas_now() of the last progress line
  int64_t first_fault; // page faults before the run
  const struct anas_program_image *info;
};

void report_init(struct report *report, bool json, const struct anas_program_image *info);
void report_compiled(struct report *report, const char *model, const struct anas_dataset *dataset);
void report_progress(struct report *report, const struct anas_progress *progress);
// test_accuracy < 0: there is no test split.
void report_result(const struct report *report, const struct anas_train_result *result, double test_accuracy);
void report_evaluation(const struct report *report, double loss, double accuracy, double test_accuracy);

#endif
