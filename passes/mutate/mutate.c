// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One mutation of a model (spec 4.3). Works on a copy; a child is handed out only if it verifies, keeps the types of
// the entry function and computes something else than its parent.
#include "passes/mutate/mutate.h"

#include "passes/mutate/internal.h"
#include "runtime/support/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mutation {
  const struct anas_model *parent;
  const struct anas_mutation_options *options;
  struct anas_rng *rng;
  int64_t generation;
  char parent_hash[33];
  int *calls; // nodes of the entry that call blocks
  int num_calls;
};

static int64_t next_generation(const struct anas_model *model) {
  for (int i = 0; i < model->num_extras; i++)
    if (!strcmp(model->extras[i].name, "anas.generation")) return strtoll(model->extras[i].value, NULL, 10) + 1;
  return 1;
}

// Attributes that describe the parent's functions do not describe the child's.
static void drop_stale_extras(struct anas_model *child) {
  static const char *const stale[] = {"anas.depth", "anas.mixing",           "anas.params",     "anas.macs",
                                      "anas.flops", "anas.activation_bytes", "anas.train_bytes"};
  for (int f = 0; f < child->num_functions; f++)
    for (size_t i = 0; i < sizeof stale / sizeof *stale; i++)
      anas_function_set_extra(child, &child->functions[f], stale[i], NULL);
}

// A certificate states the types of its function: it goes with them. Copies of functions have not been certified, and
// bodies that change drop theirs (body.c).
static void drop_stale_certificates(const struct anas_model *parent, struct anas_model *child) {
  for (int f = 0; f < child->num_functions; f++) {
    struct anas_function *now = &child->functions[f];
    if (!anas_function_extra(now, "anas.certificate")) continue;
    int before = anas_model_find(parent, now->name);
    bool same = before >= 0;
    for (int a = 0; same && a < now->num_args; a++)
      same = anas_shape_equal(&now->arg[a], &parent->functions[before].arg[a]);
    if (!same) anas_function_set_extra(child, now, "anas.certificate", NULL);
  }
}

static anas_status check_entry(const struct anas_model *parent, const struct anas_model *child) {
  const struct anas_function *a = &parent->functions[anas_model_entry(parent)];
  const struct anas_function *b = &child->functions[anas_model_entry(child)];
  for (int r = 0; r < a->num_results; r++)
    if (!anas_shape_equal(&a->result_type[r], &b->result_type[r])) {
      char before[128], after[128];
      return anas_fail(ANAS_INFEASIBLE, "result %d of '%s' would change from tensor<%s> to tensor<%s>", r, a->name,
                       anas_shape_text(&a->result_type[r], before), anas_shape_text(&b->result_type[r], after));
    }
  return ANAS_OK;
}

// claim may be null. Dead functions go last, so that it may refer to functions by index.
static anas_status finish(const struct mutation *m, struct anas_model *child, const struct anas_claim *claim) {
  drop_stale_extras(child);
  ANAS_RETURN_IF_ERROR(anas_model_infer_shapes(child));
  ANAS_RETURN_IF_ERROR(check_entry(m->parent, child));
  drop_stale_certificates(m->parent, child);
  if (claim) ANAS_RETURN_IF_ERROR(anas_claim_verify(claim, child));
  anas_model_remove_dead(child);
  ANAS_RETURN_IF_ERROR(anas_model_verify(child));
  char hash[33];
  anas_model_hash(child, hash);
  if (!strcmp(hash, m->parent_hash)) return anas_fail(ANAS_INFEASIBLE, "the child computes the same as its parent");
  return ANAS_OK;
}

static const struct anas_function *called(const struct mutation *m, int call) {
  return &m->parent->functions[m->parent->functions[anas_model_entry(m->parent)].nodes[call].callee];
}

// Tries the blocks in random order until one can be duplicated or deleted.
static anas_status change_sequence(const struct mutation *m, bool duplicate, struct anas_model **out_child,
                                   struct anas_mutation_report *report) {
  uint32_t *order = anas_calloc((size_t)m->num_calls, sizeof *order);
  for (int i = 0; i < m->num_calls; i++)
    order[i] = (uint32_t)i;
  anas_rng_shuffle(m->rng, order, (uint64_t)m->num_calls);
  anas_status status = ANAS_INFEASIBLE;
  for (int i = 0; i < m->num_calls && status != ANAS_OK; i++) {
    int call = m->calls[order[i]];
    struct anas_model *child = anas_model_clone(m->parent);
    status = duplicate ? anas_duplicate_block(child, call, m->generation) : anas_delete_block(child, call);
    if (status == ANAS_OK) status = finish(m, child, NULL);
    if (status != ANAS_OK) {
      anas_model_destroy(child);
      continue;
    }
    const struct anas_function *function = called(m, call);
    snprintf(report->kind, sizeof report->kind, "%s", duplicate ? "duplicate" : "delete");
    snprintf(report->block, sizeof report->block, "%s", function->block);
    snprintf(report->description, sizeof report->description, "%s %s @%s", report->kind, function->block,
             function->name);
    *out_child = child;
  }
  free(order);
  return status;
}

static anas_status change_body(const struct mutation *m, struct anas_model **out_child,
                               struct anas_mutation_report *report) {
  bool whole = m->options->scope == ANAS_SCOPE_FUNCTION;
  int index = anas_model_entry(m->parent);
  if (!whole)
    index = m->parent->functions[index].nodes[m->calls[anas_rng_below(m->rng, (uint64_t)m->num_calls)]].callee;
  const struct anas_function *function = &m->parent->functions[index];
  const char *block = function->block ? function->block : "function";
  struct anas_model *child = anas_model_clone(m->parent);
  struct anas_strbuf description = {0};
  struct anas_claim claim = {0};
  anas_status status =
      anas_mutate_body(m->parent, child, index, m->options, m->generation, m->rng, report, &description, &claim);
  if (status == ANAS_OK && (m->options->shape_probability > 0 || !m->options->use_shape)) anas_model_clear_types(child);
  if (status == ANAS_OK) status = finish(m, child, &claim);
  if (status == ANAS_OK) {
    snprintf(report->kind, sizeof report->kind, "mutate");
    snprintf(report->block, sizeof report->block, "%s", block);
    snprintf(report->description, sizeof report->description, "mutate %s @%s, %s", block, function->name,
             anas_strbuf_text(&description));
    *out_child = child;
  } else {
    anas_model_destroy(child);
  }
  anas_claim_deinit(&claim);
  anas_strbuf_deinit(&description);
  return status;
}

static anas_status attempt(const struct mutation *m, struct anas_model **out_child,
                           struct anas_mutation_report *report) {
  if (m->options->scope == ANAS_SCOPE_FUNCTION) return change_body(m, out_child, report);
  double draw = anas_rng_double(m->rng);
  if (draw < m->options->duplicate_probability) return change_sequence(m, true, out_child, report);
  draw -= m->options->duplicate_probability;
  if (draw < m->options->delete_probability && m->num_calls > 1) return change_sequence(m, false, out_child, report);
  return change_body(m, out_child, report);
}

static void add_lineage(const struct mutation *m, struct anas_model *child, const struct anas_mutation_report *report) {
  struct anas_strbuf text = {0};
  anas_strbuf_addf(&text, "%lld : i64", (long long)m->generation);
  anas_model_set_extra(child, "anas.generation", anas_strbuf_text(&text));
  anas_strbuf_clear(&text);
  anas_strbuf_adds(&text, "\"");
  for (const char *c = report->description; *c; c++)
    anas_strbuf_addf(&text, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
  anas_strbuf_adds(&text, "\"");
  anas_model_set_extra(child, "anas.mutation", anas_strbuf_text(&text));
  anas_strbuf_clear(&text);
  anas_strbuf_addf(&text, "\"%s\"", m->parent_hash);
  anas_model_set_extra(child, "anas.parent", anas_strbuf_text(&text));
  anas_strbuf_deinit(&text);
}

anas_status anas_mutate(const struct anas_model *parent, const struct anas_mutation_options *options,
                        struct anas_rng *rng, struct anas_model **out_child, struct anas_mutation_report *out_report) {
  int entry = anas_model_entry(parent);
  if (entry < 0) return anas_fail(ANAS_INVALID, "the module has no public function to mutate");
  struct mutation m = {.parent = parent, .options = options, .rng = rng, .generation = next_generation(parent)};
  m.calls = anas_calloc((size_t)parent->functions[entry].num_nodes + 1, sizeof *m.calls);
  m.num_calls = anas_block_calls(parent, &parent->functions[entry], m.calls);
  anas_model_hash(parent, m.parent_hash);

  anas_status status = ANAS_INFEASIBLE;
  struct anas_mutation_report report = {0};
  struct anas_model *child = NULL;
  bool possible = m.num_calls > 0 || options->scope == ANAS_SCOPE_FUNCTION;
  if (!possible)
    anas_fail(status,
              "'%s' calls no block: only functions with an attribute anas.block are mutated (or the whole of '%s', "
              "with scope=function)",
              parent->functions[entry].name, parent->functions[entry].name);
  while (possible && status != ANAS_OK && report.attempts < (options->retries > 1 ? options->retries : 1)) {
    report.attempts++;
    status = attempt(&m, &child, &report);
  }
  free(m.calls);
  if (status != ANAS_OK) {
    if (report.attempts > 0)
      anas_fail_context(ANAS_INFEASIBLE, "no mutation succeeded in %d attempts; the last one: ", report.attempts);
    return ANAS_INFEASIBLE;
  }
  add_lineage(&m, child, &report);
  *out_child = child;
  *out_report = report;
  return ANAS_OK;
}
