// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-bench child: how long a candidate of a search takes from its model to a program that can run, and how many of
// its kernel functions are new. Children are mutations of one network, compiled one after the other with the cache that
// compiling the parent has filled, to which each child adds its own functions.
#include "tools/anas-bench/bench.h"

#include "dialect/context.h"
#include "dialect/model.h"
#include "passes/mutate/mutate.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <stdlib.h>

struct cost {
  double seconds, compile_seconds;
  int hits, misses;
};

static anas_status compile(const struct options *options, const struct anas_model *model, const char *cache,
                           struct cost *out) {
  double start = anas_now();
  MlirContext context = anas_context_create(false);
  MlirModule module;
  struct anas_program_image image;
  struct anas_program *program;
  struct anas_compile_options compile_options = options_compile(options);
  compile_options.cache = cache;
  compile_options.no_cache = false;
  anas_status status = anas_model_export(model, context, &module);
  if (status == ANAS_OK) {
    status = anas_compile(module, &compile_options, &image);
    mlirModuleDestroy(module);
  }
  mlirContextDestroy(context);
  if (status == ANAS_OK) status = anas_program_load(&image, &program);
  ANAS_RETURN_IF_ERROR(status);
  const struct anas_program_image *info = anas_program_info(program);
  *out = (struct cost){anas_now() - start, info->compile_seconds, info->cache_hits, info->cache_misses};
  anas_program_destroy(program);
  return ANAS_OK;
}

struct totals {
  struct samples ms, compile_ms, new_functions;
  int64_t hits, functions, children, infeasible;
};

static anas_status bench_child(const struct options *options, const struct anas_model *parent, const char *cache,
                               const struct anas_mutation_options *mutation, int64_t number, struct totals *totals) {
  struct anas_rng rng = anas_rng_make((uint64_t)options->seed), stream = anas_rng_split(&rng, (uint64_t)number);
  struct anas_model *child;
  struct anas_mutation_report report;
  struct cost cost;
  anas_status status = anas_mutate(parent, mutation, &stream, &child, &report);
  if (status == ANAS_INFEASIBLE) {
    totals->infeasible++;
    return ANAS_OK;
  }
  ANAS_RETURN_IF_ERROR(status);
  status = compile(options, child, cache, &cost);
  anas_model_destroy(child);
  ANAS_RETURN_IF_ERROR(status);
  samples_add(&totals->ms, cost.seconds * 1e3);
  samples_add(&totals->compile_ms, cost.compile_seconds * 1e3);
  samples_add(&totals->new_functions, cost.misses);
  totals->hits += cost.hits;
  totals->functions += cost.hits + cost.misses;
  totals->children++;
  print_json(json_pack("{s:s, s:I, s:s, s:s, s:f, s:f, s:i, s:i}", "bench", "child", "child", (json_int_t)number,
                       "mutation", report.kind, "description", report.description, "ms", cost.seconds * 1e3,
                       "compile_ms", cost.compile_seconds * 1e3, "functions", cost.hits + cost.misses, "new_functions",
                       cost.misses));
  return ANAS_OK;
}

static double percentile(const struct samples *sorted, double fraction) {
  return sorted->count ? sorted->value[(size_t)(fraction * (double)(sorted->count - 1) + 0.5)] : 0;
}

static void report(const char *model, const struct cost *parent, struct totals *totals) {
  double ms = samples_median(&totals->ms), compile_ms = samples_median(&totals->compile_ms);
  double new_functions = samples_median(&totals->new_functions);
  print_json(json_pack("{s:s, s:s, s:f, s:i, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "bench", "child-summary",
                       "model", model, "parent_ms", parent->seconds * 1e3, "parent_functions",
                       parent->hits + parent->misses, "children", (json_int_t)totals->children, "infeasible",
                       (json_int_t)totals->infeasible, "median_ms", ms, "p90_ms", percentile(&totals->ms, 0.9),
                       "median_compile_ms", compile_ms, "median_new_functions", new_functions, "cache_hit_rate",
                       totals->functions ? (double)totals->hits / (double)totals->functions : 0.0, "load",
                       load_average()));
  samples_deinit(&totals->ms);
  samples_deinit(&totals->compile_ms);
  samples_deinit(&totals->new_functions);
}

static anas_status bench(const struct options *options, const struct anas_model *parent,
                         const struct anas_mutation_options *mutation) {
  struct cost cost;
  struct totals totals = {0};
  char *cache;
  ANAS_RETURN_IF_ERROR(scratch_create(&cache));
  anas_status status = compile(options, parent, cache, &cost);
  for (int64_t i = 0; i < options->children && status == ANAS_OK; i++)
    status = bench_child(options, parent, cache, mutation, i, &totals);
  char *name = model_name(options->models[0]);
  report(name, &cost, &totals);
  free(name);
  scratch_remove(cache);
  return status;
}

static anas_status run(const struct options *options) {
  if (options->num_models > 1)
    return anas_fail(ANAS_INVALID, "one parent at a time; '%s' is too many", options->models[1]);
  struct anas_mutation_options mutation;
  ANAS_RETURN_IF_ERROR(anas_mutation_configure(options->mutation, &mutation));
  ANAS_RETURN_IF_ERROR(print_machine(options, NULL));
  MlirContext context = anas_context_create(false);
  MlirModule module;
  struct anas_model *parent;
  anas_status status = load_model(options, options->models[0], context, &module);
  if (status == ANAS_OK) {
    status = anas_model_import(module, &parent);
    if (status == ANAS_OK) {
      status = anas_model_infer_shapes(parent);
      if (status == ANAS_OK) status = bench(options, parent, &mutation);
      anas_model_destroy(parent);
    }
    mlirModuleDestroy(module);
  }
  mlirContextDestroy(context);
  return status;
}

const struct command command_child = {
    .name = "child",
    .summary = "compile time of mutated children with a warm cache",
    .needs_model = true,
    .run = run,
};
