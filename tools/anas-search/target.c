// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// When a search has found what it was asked for.
#include "tools/anas-search/target.h"

#include "runtime/support/memory.h"
#include "tools/anas-search/expression.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct target {
  struct expression *expression;
  int64_t seen; // trials below this do not meet it
  bool met;
};

// "accuracy=0.8" as a condition, malloc'ed; null if it is one already.
static char *condition_of(const char *text) {
  size_t size = strcspn(text, "=<>! ");
  if (text[size] != '=' || text[size + 1] == '=') return NULL;
  char *name = anas_format("%.*s", (int)size, text);
  int metric = study_metric_find(name);
  // An unknown metric is reported by the parser of conditions, which knows the names.
  bool maximize = metric < 0 || study_metrics[metric].maximize;
  char *condition = anas_format("%s %s %s", name, maximize ? ">=" : "<=", text + size + 1);
  free(name);
  return condition;
}

anas_status target_create(const char *text, struct target **out) {
  *out = NULL;
  if (!text) return ANAS_OK;
  char *condition = condition_of(text);
  struct expression *expression = NULL;
  anas_status status = expression_parse_trained("--target", condition ? condition : text, &expression);
  free(condition);
  ANAS_RETURN_IF_ERROR(status);
  for (int m = 0; m < METRIC_NUM; m++)
    if (expression_uses(expression, (enum study_metric)m, true)) {
      expression_destroy(expression);
      return anas_fail(ANAS_INVALID, "--target '%s' is about the seed model; write its value instead", text);
    }
  *out = anas_alloc(sizeof **out);
  (*out)->expression = expression;
  return ANAS_OK;
}

void target_destroy(struct target *target) {
  if (!target) return;
  expression_destroy(target->expression);
  free(target);
}

anas_status target_check(const char *text) {
  struct target *target;
  ANAS_RETURN_IF_ERROR(target_create(text, &target));
  target_destroy(target);
  return ANAS_OK;
}

bool target_met(struct target *target, const struct search *search, int64_t visible) {
  if (!target) return false;
  for (; target->seen < visible && !target->met; target->seen++) {
    const struct study_trial *trial = &search->trials[target->seen];
    target->met = trial->state == STUDY_COMPLETE && expression_holds(target->expression, trial->metric, trial->metric);
  }
  return target->met;
}
