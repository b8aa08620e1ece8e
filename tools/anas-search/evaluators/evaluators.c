// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of evaluators.
#include "tools/anas-search/evaluators/evaluator.h"

#include "runtime/support/memory.h"
#include "runtime/support/nearest.h"

#include <stdlib.h>
#include <string.h>

static const struct evaluator *const evaluators[] = {&evaluator_simulated, &evaluator_table};
#define NUM_EVALUATORS (sizeof evaluators / sizeof *evaluators)

anas_status evaluator_find(const char *option, const struct evaluator **out_evaluator, const char **out_argument) {
  size_t size = strcspn(option, ":");
  const char *argument = option[size] ? option + size + 1 : NULL;
  struct anas_nearest nearest = anas_nearest_make(option, size);
  anas_nearest_offer(&nearest, "train");
  const struct evaluator *found = NULL;
  for (size_t i = 0; i < NUM_EVALUATORS; i++) {
    const struct evaluator *e = evaluators[i];
    anas_nearest_offer(&nearest, e->name);
    if (strlen(e->name) == size && !memcmp(e->name, option, size)) found = e;
  }
  bool train = !strcmp(option, "train");
  char hint[128];
  if (!found && !train)
    return anas_fail(ANAS_INVALID, "--evaluator is train, simulated or table:FILE, got '%s'%s", option,
                     nearest.best ? anas_nearest_hint(&nearest, hint) : "");
  *out_evaluator = found;
  *out_argument = argument;
  return ANAS_OK;
}

void evaluator_help(struct anas_strbuf *out) {
  anas_strbuf_addf(out, "  %-28s %s\n", "train", "compile the training step and train (default)");
  for (size_t i = 0; i < NUM_EVALUATORS; i++) {
    const struct evaluator *e = evaluators[i];
    char *left = anas_format("%s%s", e->name, e->metavar);
    anas_strbuf_addf(out, "  %-28s %s\n", left, e->summary);
    free(left);
  }
}
