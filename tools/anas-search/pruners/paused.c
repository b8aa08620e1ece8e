// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Trials that pause at a rung until it is decided about them.
#include "tools/anas-search/pruners/pruner.h"

#include "runtime/support/memory.h"

#include <stdlib.h>

void paused_add(struct paused *paused, int64_t number) {
  paused->numbers = anas_grow(paused->numbers, (size_t)paused->count, &paused->capacity, sizeof *paused->numbers);
  paused->numbers[paused->count++] = number;
}

struct verdicts {
  const struct paused *paused;
  const struct search *search;
};

// Verdicts and states are written together: a trial is never PRUNED without its reason being in the log.
static anas_status record(struct study *study, void *data) {
  const struct verdicts *verdicts = data;
  for (int64_t i = 0; i < verdicts->paused->count; i++) {
    const struct study_trial *trial = &verdicts->search->trials[verdicts->paused->numbers[i]];
    if (trial->state == STUDY_PAUSED) continue;
    ANAS_RETURN_IF_ERROR(study_update(study, trial));
    ANAS_RETURN_IF_ERROR(study_put_curve(study, trial));
    if (trial->state == STUDY_PRUNED)
      ANAS_RETURN_IF_ERROR(study_forget(study, trial->number, "checkpoint.safetensors"));
  }
  return ANAS_OK;
}

anas_status paused_settle(struct paused *paused, struct search *search, paused_decided decided, void *data,
                          bool *out_any) {
  *out_any = false;
  if (!paused->count) return ANAS_OK;
  pruner_decide(search, paused->numbers, paused->count);
  for (int64_t i = 0; i < paused->count; i++)
    *out_any |= search->trials[paused->numbers[i]].state != STUDY_PAUSED;
  if (!*out_any) return ANAS_OK;
  ANAS_RETURN_IF_ERROR(study_atomically(search->study, record, &(struct verdicts){paused, search}));
  int64_t kept = 0;
  for (int64_t i = 0; i < paused->count; i++) {
    int64_t number = paused->numbers[i];
    if (search->trials[number].state == STUDY_PAUSED)
      paused->numbers[kept++] = number;
    else
      ANAS_RETURN_IF_ERROR(decided(data, number));
  }
  paused->count = kept;
  return ANAS_OK;
}
