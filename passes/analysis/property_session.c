// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Properties across edits: the edited functions are summarised again, then the callers of those whose summaries
// changed, and so on up. A summary that looked into a callee's ops depends on more than its callees' summaries; while
// there is one, an update goes through the whole model (and finds what it can by content).
#include "passes/analysis/summary.h"

#include <stdlib.h>
#include <string.h>

#define MAX_UPDATES 4096 // summaries of old bodies are dropped after as many

struct anas_property_session {
  struct anas_property_inference inference; // owns its cache
  int num_functions, updates;
  bool valid;
  bool *stale;
  struct anas_summary **before; // by function, while an update runs
  uint64_t *calls;              // [caller][word]: bits of callees
  struct anas_properties *properties;
};

static int words(const struct anas_property_session *session) {
  return (session->num_functions + 63) / 64;
}

static void note_calls(struct anas_property_session *session, int caller) {
  const struct anas_function *function = &session->inference.model->functions[caller];
  uint64_t *row = session->calls + (size_t)caller * (size_t)words(session);
  memset(row, 0, (size_t)words(session) * sizeof *row);
  for (int n = 0; n < function->num_nodes; n++)
    if (!function->nodes[n].def) row[function->nodes[n].callee / 64] |= UINT64_C(1) << (function->nodes[n].callee % 64);
}

static bool does_call(const struct anas_property_session *session, int caller, int callee) {
  return session->calls[(size_t)caller * (size_t)words(session) + (size_t)callee / 64] >> (callee % 64) & 1;
}

static void release(struct anas_property_session *session) {
  anas_property_cache_destroy(session->inference.cache);
  anas_property_inference_deinit(&session->inference);
  free(session->stale);
  free(session->before);
  free(session->calls);
  free(session->properties);
  memset(session, 0, sizeof *session);
}

// Makes room for the model and forgets what was known.
static void start(struct anas_property_session *session, const struct anas_model *model) {
  size_t count = (size_t)model->num_functions + 1;
  int64_t transfers = session->inference.cache ? anas_property_cache_transfers(session->inference.cache) : 0;
  if (session->inference.cache) release(session);
  anas_property_inference_init(model, anas_property_cache_create(), &session->inference);
  anas_property_cache_count(session->inference.cache, transfers);
  session->num_functions = model->num_functions;
  session->stale = anas_calloc(count, sizeof *session->stale);
  session->before = anas_calloc(count, sizeof *session->before);
  session->calls = anas_calloc(count * (size_t)(words(session) + 1), sizeof *session->calls);
  session->properties = anas_calloc(count, sizeof *session->properties);
}

static anas_status refresh(struct anas_property_session *session, int f) {
  struct anas_property_inference *inference = &session->inference;
  ANAS_RETURN_IF_ERROR(anas_property_summarise(inference, f));
  anas_property_report(&inference->model->functions[f], inference->summaries[f], &session->properties[f]);
  return ANAS_OK;
}

static anas_status refresh_all(struct anas_property_session *session) {
  int functions = session->num_functions;
  memset(session->inference.summaries, 0, (size_t)functions * sizeof *session->inference.summaries);
  for (int f = 0; f < functions; f++) {
    note_calls(session, f);
    ANAS_RETURN_IF_ERROR(refresh(session, f));
  }
  return ANAS_OK;
}

static bool looks_into_bodies(const struct anas_property_session *session) {
  for (int f = 0; f < session->num_functions; f++)
    if (session->inference.summaries[f] && session->inference.summaries[f]->from_body) return true;
  return false;
}

static void mark(struct anas_property_session *session, int f) {
  if (session->stale[f]) return;
  session->stale[f] = true;
  session->before[f] = session->inference.summaries[f];
  session->inference.summaries[f] = NULL;
}

// Summarises a stale function; its callers become stale if it says something new.
static anas_status settle(struct anas_property_session *session, int f) {
  const struct anas_summary *before = session->before[f];
  ANAS_RETURN_IF_ERROR(refresh(session, f));
  session->stale[f] = false;
  if (before && XXH128_isEqual(before->content, session->inference.summaries[f]->content)) return ANAS_OK;
  for (int g = 0; g < session->num_functions; g++)
    if (does_call(session, g, f)) mark(session, g);
  return ANAS_OK;
}

static anas_status refresh_edited(struct anas_property_session *session, const int *edited, int num_edited) {
  for (int i = 0; i < num_edited; i++) {
    note_calls(session, edited[i]);
    mark(session, edited[i]);
  }
  for (bool found = true; found;) {
    found = false;
    for (int f = session->num_functions - 1; f >= 0; f--) { // callees mostly follow their callers
      if (!session->stale[f]) continue;
      found = true;
      ANAS_RETURN_IF_ERROR(settle(session, f));
    }
  }
  return ANAS_OK;
}

anas_status anas_property_session_update(struct anas_property_session *session, const struct anas_model *model,
                                         const int *edited, int num_edited) {
  bool fresh = !session->valid || model->num_functions != session->num_functions || session->updates >= MAX_UPDATES;
  if (fresh) start(session, model);
  session->inference.model = model;
  session->inference.expanded = 0;
  session->valid = false;
  session->updates++;
  bool whole = fresh || looks_into_bodies(session);
  if (!whole) {
    ANAS_RETURN_IF_ERROR(refresh_edited(session, edited, num_edited));
    whole = looks_into_bodies(session);
  }
  if (whole) ANAS_RETURN_IF_ERROR(refresh_all(session));
  session->valid = true;
  return ANAS_OK;
}

anas_status anas_property_session_create(const struct anas_model *model, struct anas_property_session **out_session) {
  struct anas_property_session *session = anas_alloc(sizeof *session);
  anas_status status = anas_property_session_update(session, model, NULL, 0);
  if (status == ANAS_OK)
    *out_session = session;
  else
    anas_property_session_destroy(session);
  return status;
}

void anas_property_session_destroy(struct anas_property_session *session) {
  if (!session) return;
  release(session);
  free(session);
}

const struct anas_properties *anas_property_session_get(const struct anas_property_session *session) {
  return session->properties;
}

int64_t anas_property_session_transfers(const struct anas_property_session *session) {
  return anas_property_cache_transfers(session->inference.cache);
}
