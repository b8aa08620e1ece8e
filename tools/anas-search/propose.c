// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What strategies share: children by mutation, checked against every candidate of the study and the constraints.
#include "tools/anas-search/measure.h"

#include "passes/mutate/mutate.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARENT_RETRIES 8 // mutations of one parent before another is chosen

void proposal_deinit(struct proposal *proposal) {
  anas_model_destroy(proposal->model);
  free(proposal->description);
  free(proposal->decision);
  free(proposal->reason);
}

static const struct search_strategy *const strategies[] = {
    &strategy_alphanas, &strategy_regularized, &strategy_nsga2,  &strategy_mu_plus_lambda,
    &strategy_local,    &strategy_mutation,    &strategy_random,
};

const struct search_strategy *const *search_strategies(int *out_count) {
  *out_count = (int)(sizeof strategies / sizeof *strategies);
  return strategies;
}

const struct search_strategy *search_strategy_find(const char *name) {
  for (size_t i = 0; i < sizeof strategies / sizeof *strategies; i++)
    if (!strcmp(strategies[i]->name, name)) return strategies[i];
  return NULL;
}

// Position of a hash in the index, or of the free place where it belongs: open addressing, half full at most.
static size_t index_place(const struct search *search, const char *hash) {
  size_t mask = search->capacity_index - 1, at = (size_t)anas_hash64(hash, strlen(hash), 0) & mask;
  while (search->index[at] && strcmp(search->trials[search->index[at] - 1].hash, hash) != 0)
    at = (at + 1) & mask;
  return at;
}

// Enters the trials that came since the last call.
static void index_update(struct search *search) {
  if ((size_t)search->num_trials * 2 >= search->capacity_index) {
    search->capacity_index = search->capacity_index ? search->capacity_index : 1024;
    while ((size_t)search->num_trials * 2 >= search->capacity_index)
      search->capacity_index *= 2;
    free(search->index);
    search->index = anas_calloc(search->capacity_index, sizeof *search->index);
    search->num_indexed = 0;
  }
  for (; search->num_indexed < search->num_trials; search->num_indexed++) {
    const char *hash = search->trials[search->num_indexed].hash;
    if (hash) search->index[index_place(search, hash)] = search->num_indexed + 1; // repeated seeds: the last one
  }
}

static bool is_known(struct search *search, const char *hash) {
  index_update(search);
  int64_t entry = search->index[index_place(search, hash)];
  return entry && entry <= search->num_trials; // replay looks at earlier states of a study
}

static const double *seed_metric(struct search *search) {
  if (search->seed_metric) return search->seed_metric;
  struct anas_model_cost cost;
  search->seed_metric = anas_calloc(METRIC_NUM, sizeof *search->seed_metric);
  for (int m = 0; m < METRIC_NUM; m++)
    search->seed_metric[m] = NAN;
  if (anas_model_cost(search->seed, search->options.batch, &cost) == ANAS_OK)
    metrics_of_cost(&cost, search->seed_metric);
  return search->seed_metric;
}

static bool meets_constraints(struct search *search, const struct anas_model_cost *cost) {
  if (!search->options.num_constraints) return true;
  double metric[METRIC_NUM];
  metrics_of_cost(cost, metric);
  const struct expression *broken;
  return constraints_hold(&search->options, false, metric, seed_metric(search), &broken);
}

bool proposal_try_child(struct search *search, int64_t parent, const struct anas_model *parent_model,
                        struct anas_rng *rng, struct proposal *proposal) {
  struct anas_mutation_report report = {0};
  struct anas_model *child;
  if (anas_mutate(parent_model, &search->options.mutation, rng, &child, &report) != ANAS_OK) {
    proposal->infeasible++;
    return false;
  }
  char hash[33];
  struct anas_model_cost cost;
  anas_model_hash(child, hash);
  if (is_known(search, hash)) {
    proposal->duplicates++;
  } else if (anas_model_cost(child, search->options.batch, &cost) != ANAS_OK) {
    proposal->infeasible++;
  } else if (!meets_constraints(search, &cost)) {
    proposal->violations++;
  } else {
    proposal->model = child;
    proposal->parent = parent;
    proposal->cost = cost;
    proposal->state = STUDY_WAITING;
    memcpy(proposal->hash, hash, sizeof hash);
    snprintf(proposal->kind, sizeof proposal->kind, "%s", report.kind);
    snprintf(proposal->block, sizeof proposal->block, "%s", report.block);
    proposal->description = anas_strdup(report.description);
    return true;
  }
  anas_model_destroy(child);
  return false;
}

anas_status proposal_mutate(struct search *search, const char *strategy, search_choose choose, const void *data,
                            int64_t visible, struct anas_rng *rng, struct proposal *out) {
  json_t *decision = json_pack("{s:s}", "strategy", strategy);
  anas_status status = ANAS_OK;
  int attempt = 0;
  bool found = false;
  while (!found && status == ANAS_OK && attempt < search->options.retries) {
    int64_t parent = choose(search, visible, data, rng, decision);
    const struct anas_model *model = search_model(search, parent);
    if (!model) status = ANAS_CORRUPT; // the message is set
    for (int i = 0; i < PARENT_RETRIES && !found && model && attempt < search->options.retries; i++, attempt++)
      found = proposal_try_child(search, parent, model, rng, out);
  }
  if (status == ANAS_OK && !found) proposal_give_up(out, attempt);
  json_object_set_new(decision, "attempts", json_integer(attempt));
  json_object_set_new(decision, "duplicates", json_integer(out->duplicates));
  json_object_set_new(decision, "visible", json_integer((json_int_t)visible));
  out->decision = json_dumps(decision, JSON_COMPACT);
  json_decref(decision);
  return status;
}

void proposal_give_up(struct proposal *proposal, int attempts) {
  bool duplicate = proposal->duplicates >= proposal->infeasible + proposal->violations;
  proposal->state = duplicate ? STUDY_DUPLICATE : STUDY_INVALID;
  proposal->reason =
      anas_format("no new child in %d attempts: %d known already, %d infeasible, %d outside the constraints", attempts,
                  proposal->duplicates, proposal->infeasible, proposal->violations);
}

anas_status proposal_seed(struct search *search, struct proposal *out) {
  ANAS_RETURN_IF_ERROR(anas_model_cost(search->seed, search->options.batch, &out->cost));
  out->model = anas_model_clone(search->seed);
  out->parent = -1;
  out->state = STUDY_WAITING;
  anas_model_hash(out->model, out->hash);
  snprintf(out->kind, sizeof out->kind, "seed");
  out->description = anas_strdup("the seed model");
  out->decision = anas_strdup("{\"strategy\":\"seed\"}");
  return ANAS_OK;
}
