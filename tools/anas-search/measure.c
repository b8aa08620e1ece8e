// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Metrics that are known before a trial trains, and the constraints on them.
#include "tools/anas-search/measure.h"

#include "runtime/init.h"
#include "runtime/team.h"
#include "tools/anas-search/latency.h"
#include "tools/anas-search/proxies/proxies.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void metrics_of_cost(const struct anas_model_cost *cost, double metric[METRIC_NUM]) {
  metric[METRIC_PARAMS] = (double)cost->params;
  metric[METRIC_MACS] = (double)cost->macs;
  metric[METRIC_FLOPS] = (double)cost->flops;
  metric[METRIC_TRAIN_BYTES] = (double)cost->train_bytes;
  metric[METRIC_MODEL_BYTES] = (double)cost->model_bytes;
}

static bool known_from_model(const struct expression *constraint) {
  for (int m = 0; m < METRIC_NUM; m++)
    if (study_metrics[m].known != METRIC_FROM_MODEL && (expression_uses(constraint, (enum study_metric)m, false) ||
                                                        expression_uses(constraint, (enum study_metric)m, true)))
      return false;
  return true;
}

bool constraints_hold(const struct search_options *options, bool measured, const double *trial, const double *seed,
                      const struct expression **out_broken) {
  for (int i = 0; i < options->num_constraints; i++) {
    const struct expression *constraint = options->constraints[i];
    if (known_from_model(constraint) == measured || expression_holds(constraint, trial, seed)) continue;
    *out_broken = constraint;
    return false;
  }
  return true;
}

static bool constrained(const struct search_options *options, enum study_metric metric, bool seed) {
  for (int i = 0; i < options->num_constraints; i++)
    if (expression_uses(options->constraints[i], metric, seed)) return true;
  return false;
}

bool metric_wanted(const struct search_options *options, enum study_metric metric) {
  for (int i = 0; i < options->num_objectives; i++)
    if (options->objectives[i].metric == metric) return true;
  const char *name = study_metrics[metric].name;
  size_t size = strlen(name);
  for (const char *at = options->metrics; at && *at; at += strcspn(at, ","), at += *at == ',')
    if (strcspn(at, ",") == size && !strncmp(at, name, size)) return true;
  return constrained(options, metric, false) || constrained(options, metric, true);
}

// ---- in the process of a trial

struct measuring {
  const struct search *search;
  struct anas_compile_options options; // of programs that are compiled to be measured
  double trial[METRIC_NUM], seed[METRIC_NUM];
};

static anas_status compile_model(const struct measuring *m, const struct anas_model *model,
                                 const struct anas_compile_options *options, struct anas_program_image *out) {
  MlirModule module;
  ANAS_RETURN_IF_ERROR(anas_model_export(model, m->search->context, &module));
  anas_status status = anas_compile(module, options, out);
  mlirModuleDestroy(module);
  return status;
}

// ---- latency

static anas_status load_inference(const struct measuring *m, MlirModule module, struct anas_program **out) {
  struct anas_compile_options options = m->options;
  options.program = ANAS_PROGRAM_INFER;
  options.batch = m->search->options.latency_batch;
  struct anas_program_image image = {0};
  if (mlirModuleIsNull(module))
    ANAS_RETURN_IF_ERROR(compile_model(m, m->search->seed, &options, &image));
  else
    ANAS_RETURN_IF_ERROR(anas_compile(module, &options, &image));
  return anas_program_load(&image, out);
}

static anas_status measure_latency(struct measuring *m, MlirModule module) {
  struct anas_program *candidate, *seed;
  ANAS_RETURN_IF_ERROR(load_inference(m, module, &candidate));
  anas_status status = load_inference(m, (MlirModule){NULL}, &seed);
  if (status == ANAS_OK) {
    struct latency_report report;
    int team = anas_team_size();
    status = latency_measure(candidate, seed, m->search->dataset, &report);
    anas_team_set_size(team);
    if (status == ANAS_OK) {
      printf("latency of a batch of %lld: median %.3f ms, 95 %% below %.3f ms, spread %.1f %%; seed model: %.3f ms, "
             "%.3f ms, %.1f %%; %d runs each in alternation, ",
             (long long)m->search->options.latency_batch, report.candidate.p50 * 1e3, report.candidate.p95 * 1e3,
             report.candidate.spread * 1e2, report.seed.p50 * 1e3, report.seed.p95 * 1e3, report.seed.spread * 1e2,
             report.runs);
      printf(report.core < 0 ? "not pinned" : "on core %d", report.core);
      printf("; %d repeated; waited %.1f s\n", report.repeated, report.waited);
      fflush(stdout);
      m->trial[METRIC_LATENCY_P50] = report.candidate.p50;
      m->trial[METRIC_LATENCY_P95] = report.candidate.p95;
      m->trial[METRIC_LATENCY_SPREAD] = report.candidate.spread;
      m->trial[METRIC_SEED_LATENCY_P50] = m->seed[METRIC_SEED_LATENCY_P50] = report.seed.p50;
      m->seed[METRIC_LATENCY_P50] = report.seed.p50;
      m->seed[METRIC_LATENCY_P95] = report.seed.p95;
      m->seed[METRIC_LATENCY_SPREAD] = report.seed.spread;
    }
    anas_program_destroy(seed);
  }
  anas_program_destroy(candidate);
  return status;
}

static bool latency_wanted(const struct search_options *options) {
  return metric_wanted(options, METRIC_LATENCY_P50) || metric_wanted(options, METRIC_LATENCY_P95) ||
         metric_wanted(options, METRIC_LATENCY_SPREAD) || metric_wanted(options, METRIC_SEED_LATENCY_P50);
}

// ---- proxies

static const enum study_metric proxies[] = {METRIC_GRAD_NORM, METRIC_SNIP, METRIC_SYNFLOW, METRIC_NASWOT};

// What cannot be computed for a network is unknown, and the network is trained all the same.
static anas_status unknown_if_unsupported(anas_status status, const char *name) {
  if (status != ANAS_UNSUPPORTED) return status;
  printf("%s is unknown: %s\n", name, anas_error_message());
  return ANAS_OK;
}

static anas_status load_program(const struct measuring *m, MlirModule module, enum anas_program_kind kind,
                                struct anas_program **out) {
  struct anas_compile_options options = m->options;
  options.program = kind;
  // One step of that leaves the gradient in its momentum.
  options.optimizer = (struct anas_optimizer){.kind = ANAS_SGD};
  if (kind == ANAS_PROGRAM_SYNFLOW) options.batch = 1;
  struct anas_program_image image = {0};
  ANAS_RETURN_IF_ERROR(anas_compile(module, &options, &image));
  ANAS_RETURN_IF_ERROR(anas_program_load(&image, out));
  anas_status status = anas_init_params(anas_program_info(*out), m->search->options.seed, anas_program_params(*out));
  if (status == ANAS_OK && kind != ANAS_PROGRAM_SYNFLOW) status = proxy_fill_batch(*out, m->search->dataset);
  if (status != ANAS_OK) anas_program_destroy(*out);
  return status;
}

static anas_status measure_proxy(const struct measuring *m, MlirModule module, enum anas_program_kind kind,
                                 double metric[METRIC_NUM]) {
  struct anas_program *program;
  ANAS_RETURN_IF_ERROR(load_program(m, module, kind, &program));
  anas_status status = ANAS_OK;
  if (kind == ANAS_PROGRAM_TRAIN)
    status = proxy_gradients(program, &metric[METRIC_GRAD_NORM], &metric[METRIC_SNIP]);
  else if (kind == ANAS_PROGRAM_SYNFLOW)
    status = proxy_synflow(program, &metric[METRIC_SYNFLOW]);
  else
    status = proxy_naswot(program, &metric[METRIC_NASWOT]);
  anas_program_destroy(program);
  return status;
}

// 'which' says of each metric whether it is wanted.
static anas_status measure_proxies(const struct measuring *m, MlirModule module, const bool which[METRIC_NUM],
                                   double metric[METRIC_NUM]) {
  anas_status status = ANAS_OK;
  if (which[METRIC_GRAD_NORM] || which[METRIC_SNIP]) status = measure_proxy(m, module, ANAS_PROGRAM_TRAIN, metric);
  if (status == ANAS_OK && which[METRIC_SYNFLOW])
    status = unknown_if_unsupported(measure_proxy(m, module, ANAS_PROGRAM_SYNFLOW, metric), "synflow");
  if (status == ANAS_OK && which[METRIC_NASWOT])
    status = unknown_if_unsupported(measure_proxy(m, module, ANAS_PROGRAM_CODES, metric), "naswot");
  return status;
}

static anas_status all_proxies(struct measuring *m, MlirModule module) {
  bool own[METRIC_NUM] = {0}, of_seed[METRIC_NUM] = {0}, any_of_seed = false;
  for (size_t i = 0; i < sizeof proxies / sizeof *proxies; i++) {
    own[proxies[i]] = metric_wanted(&m->search->options, proxies[i]);
    of_seed[proxies[i]] = constrained(&m->search->options, proxies[i], true);
    any_of_seed |= of_seed[proxies[i]];
  }
  ANAS_RETURN_IF_ERROR(measure_proxies(m, module, own, m->trial));
  if (!any_of_seed) return ANAS_OK;
  MlirModule seed;
  ANAS_RETURN_IF_ERROR(anas_model_export(m->search->seed, m->search->context, &seed));
  anas_status status = measure_proxies(m, seed, of_seed, m->seed);
  mlirModuleDestroy(seed);
  return status;
}

// ---- memory

static double planned_bytes(const struct anas_program_image *image) {
  return (double)(image->arena_bytes + image->params_bytes);
}

static anas_status plan_seed(struct measuring *m, const struct anas_compile_options *options) {
  struct anas_program_image image = {0};
  ANAS_RETURN_IF_ERROR(compile_model(m, m->search->seed, options, &image));
  m->seed[METRIC_PLANNED_BYTES] = planned_bytes(&image);
  anas_program_image_deinit(&image);
  return ANAS_OK;
}

// ---- all of them

// What constraints want to know of the seed model, the trial finds out itself: it depends on no other trial.
static anas_status measure(struct measuring *m, int64_t number, MlirModule module,
                           const struct anas_program_image *image) {
  const struct search *search = m->search;
  struct anas_model_cost cost;
  ANAS_RETURN_IF_ERROR(anas_model_cost(search->seed, search->options.batch, &cost));
  for (int i = 0; i < METRIC_NUM; i++) {
    m->seed[i] = NAN;
    m->trial[i] = study_metrics[i].known == METRIC_FROM_MODEL ? search->trials[number].metric[i] : NAN;
  }
  metrics_of_cost(&cost, m->seed);
  m->trial[METRIC_PLANNED_BYTES] = planned_bytes(image);
  if (constrained(&search->options, METRIC_PLANNED_BYTES, true)) ANAS_RETURN_IF_ERROR(plan_seed(m, &m->options));
  ANAS_RETURN_IF_ERROR(all_proxies(m, module));
  if (latency_wanted(&search->options)) ANAS_RETURN_IF_ERROR(measure_latency(m, module));
  return ANAS_OK;
}

static anas_status check(const struct measuring *m) {
  const struct expression *broken;
  if (constraints_hold(&m->search->options, true, m->trial, m->seed, &broken)) return ANAS_OK;
  struct anas_strbuf values = {0};
  expression_explain(broken, m->trial, m->seed, &values);
  anas_status status =
      anas_fail(ANAS_INVALID, "outside --constraint '%s': %s", expression_text(broken), anas_strbuf_text(&values));
  anas_strbuf_deinit(&values);
  return status;
}

anas_status measure_before_training(const struct search *search, int64_t number, MlirModule module,
                                    const struct anas_compile_options *options, const struct anas_program_image *image,
                                    double metric[METRIC_NUM]) {
  struct measuring m = {.search = search, .options = *options};
  m.options.report = NULL;
  m.options.tune = false;
  anas_status status = measure(&m, number, module, image);
  for (int i = 0; i < METRIC_NUM; i++)
    if (study_metrics[i].known == METRIC_BEFORE_TRAINING) metric[i] = m.trial[i];
  if (status != ANAS_OK || number < search->options.seed_trials) return status; // the search starts from it in any case
  return check(&m);
}
