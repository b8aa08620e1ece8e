// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The baseline: random walks from the seed model with the same mutations, blind to every result.
#include "passes/mutate/mutate.h"
#include "tools/anas-search/search.h"

#include "runtime/support/memory.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_STEPS 6

// Only where the walk ends must be new; the steps before may pass through known candidates.
static bool walk(struct search *search, int steps, struct anas_rng *rng, struct proposal *out) {
  struct anas_strbuf path = {0};
  struct anas_model *current = NULL;
  bool ok = true;
  for (int i = 0; i + 1 < steps && ok; i++) {
    struct anas_mutation_report report = {0};
    struct anas_model *next;
    ok = anas_mutate(current ? current : search->seed, &search->options.mutation, rng, &next, &report) == ANAS_OK;
    if (!ok) break;
    anas_strbuf_addf(&path, "%s; then ", report.description);
    anas_model_destroy(current);
    current = next;
  }
  if (!ok) out->infeasible++;
  ok = ok && proposal_try_child(search, 0, current ? current : search->seed, rng, out);
  anas_model_destroy(current);
  if (ok) {
    anas_strbuf_adds(&path, out->description);
    free(out->description);
    out->description = anas_strbuf_detach(&path);
    if (steps > 1) snprintf(out->kind, sizeof out->kind, "walk of %d", steps);
  }
  anas_strbuf_deinit(&path);
  return ok;
}

static anas_status propose(struct search *search, int64_t number, int64_t visible, struct anas_rng *rng,
                           struct proposal *out) {
  (void)number;
  (void)visible;
  int attempt = 0, steps = 0;
  bool found = false;
  while (!found && attempt < search->options.retries) {
    steps = 1 + (int)anas_rng_below(rng, MAX_STEPS);
    found = walk(search, steps, rng, out);
    attempt++;
  }
  if (!found) proposal_give_up(out, attempt);
  out->decision = anas_format("{\"strategy\":\"random\",\"steps\":%d,\"attempts\":%d,\"duplicates\":%d}", steps,
                              attempt, out->duplicates);
  return ANAS_OK;
}

const struct search_strategy strategy_random = {
    .name = "random",
    .summary = "baseline: walks of 1 to 6 random mutations from the seed, without looking at results",
    .propose = propose,
};
