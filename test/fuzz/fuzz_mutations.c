// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A random walk of mutations: every child must verify, survive printing and parsing with the same hash and certificates
// that hold, keep the types of the network, and lower to kernels; a sample of them is compiled and takes one training
// step, after which the loss and every parameter must be finite.
//
// The walk goes from parent to child. A child beyond the limits of parameters or multiply-accumulates is checked but
// not walked to, as a search would not train it. After 20 of those in a row, after 20 mutations that found no child,
// and when no block has been added or deleted for 50 steps (what is left can be neither), it starts over from the
// model. One JSON line sums up; a failure names seed and step, writes the child to a file, and ends with code 1.
//
// fuzz_mutations [--model cnn] [--size 8] [--count 200] [--seed 1] [--train 10] [--lower EVERY] [--batch 4]
//                [--growth 4] [--settings "preset=imagenet ..."]
// --growth: limits relative to the model; --lower N: only every Nth child is lowered (1).
#include "dialect/context.h"
#include "dialect/zoo.h"
#include "passes/lower/compile.h"
#include "passes/mutate/mutate.h"
#include "passes/pass.h"
#include "runtime/init.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/team.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PATIENCE 20
#define STALE 50

struct walk {
  const char *model, *settings;
  int64_t size, count, train, lower, batch;
  uint64_t seed;
  double growth;
  MlirContext context;
  struct anas_model *root;
  struct anas_model_cost limit;
  struct anas_mutation_options options;
  int64_t mutate, duplicate, delete, chains, dropped, residuals; // what the children were
  int64_t trained, lowered, rejected, infeasible, restarts;
};

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static anas_status parse_model(struct walk *walk, const char *text, MlirModule *out_module, struct anas_model **out) {
  ANAS_RETURN_IF_ERROR(anas_parse(walk->context, text, strlen(text), "child", out_module));
  struct anas_model *model = NULL;
  anas_status status = anas_model_import(*out_module, &model);
  if (status == ANAS_OK) status = anas_model_infer_shapes(model);
  if (status != ANAS_OK) {
    anas_model_destroy(model);
    mlirModuleDestroy(*out_module);
    return status;
  }
  *out = model;
  return ANAS_OK;
}

static anas_status check_hash(const struct anas_model *a, const struct anas_model *b) {
  char x[33], y[33];
  anas_model_hash(a, x);
  anas_model_hash(b, y);
  return strcmp(x, y) ? anas_fail(ANAS_INTERNAL, "the hash changes from %s to %s by printing and parsing", x, y)
                      : ANAS_OK;
}

static anas_status check_entry(const struct walk *walk, const struct anas_model *child) {
  const struct anas_function *a = &walk->root->functions[anas_model_entry(walk->root)];
  const struct anas_function *b = &child->functions[anas_model_entry(child)];
  bool same = a->num_args == b->num_args && a->num_results == b->num_results;
  for (int i = 0; same && i < a->num_args; i++)
    same = anas_shape_equal(&a->arg[i], &b->arg[i]);
  for (int i = 0; same && i < a->num_results; i++)
    same = anas_shape_equal(&a->result_type[i], &b->result_type[i]);
  return same ? ANAS_OK : anas_fail(ANAS_INTERNAL, "the types of the network change");
}

static anas_status all_finite(const float *values, size_t count, const char *what) {
  for (size_t i = 0; i < count; i++)
    if (!isfinite(values[i]))
      return anas_fail(ANAS_DIVERGED, "%s[%zu] is %g after one step", what, i, (double)values[i]);
  return ANAS_OK;
}

static anas_status train_step(const struct walk *walk, MlirModule module) {
  struct anas_compile_options compile = {
      .batch = walk->batch, .optimizer = {.momentum = 0.9, .weight_decay = 1e-4}, .threads = anas_team_size()};
  struct anas_program_image image = {0};
  ANAS_RETURN_IF_ERROR(anas_compile(module, &compile, &image));
  struct anas_program *program;
  ANAS_RETURN_IF_ERROR(anas_program_load(&image, &program));
  const struct anas_program_image *info = anas_program_info(program);
  char *arena = anas_program_arena(program), *params = anas_program_params(program);
  anas_status status = anas_init_params(info, walk->seed, params);
  struct anas_rng rng = anas_rng_make(walk->seed);
  float rate = 0.01f, loss;
  int64_t dropout = 1;
  for (size_t i = 0; i < info->image.bytes / sizeof(float); i++)
    ((float *)(arena + info->image.offset))[i] = (float)anas_rng_normal(&rng);
  for (int64_t i = 0; i < info->batch; i++)
    ((int32_t *)(arena + info->label.offset))[i] = (int32_t)(i % info->classes);
  memcpy(arena + info->learning_rate.offset, &rate, sizeof rate);
  memcpy(arena + info->seed.offset, &dropout, info->seed.bytes < sizeof dropout ? info->seed.bytes : sizeof dropout);
  if (status == ANAS_OK) anas_program_train_step(program);
  memcpy(&loss, arena + info->loss.offset, sizeof loss);
  if (status == ANAS_OK) status = all_finite(&loss, 1, "loss");
  for (int i = 0; i < info->num_tensors && status == ANAS_OK; i++)
    status =
        all_finite((const float *)(params + info->tensors[i].offset), info->tensors[i].count, info->tensors[i].name);
  anas_program_destroy(program);
  return status;
}

static anas_status lower(MlirModule module, int64_t batch) {
  char pipeline[96];
  snprintf(pipeline, sizeof pipeline, "anas-train-step{batch=%lld},anas-to-kernels", (long long)batch);
  ANAS_RETURN_IF_ERROR(anas_pipeline_run(module, pipeline));
  if (!mlirOperationVerify(mlirModuleGetOperation(module)))
    return anas_fail(ANAS_INTERNAL, "the kernel stage does not verify");
  return ANAS_OK;
}

// train and lower say how far to go.
static anas_status check_child(struct walk *walk, const struct anas_model *child, bool lower_it, bool train_it) {
  struct anas_strbuf text = {0};
  MlirModule module;
  struct anas_model *again = NULL;
  ANAS_RETURN_IF_ERROR(anas_model_verify(child));
  ANAS_RETURN_IF_ERROR(check_entry(walk, child));
  anas_model_print(child, &text);
  anas_status status = parse_model(walk, anas_strbuf_text(&text), &module, &again);
  anas_strbuf_deinit(&text);
  if (status != ANAS_OK) return anas_fail_context(status, "printed and parsed: ");
  if (status == ANAS_OK) status = anas_model_verify(again);
  if (status == ANAS_OK) status = check_hash(child, again);
  if (status == ANAS_OK) status = anas_pipeline_run(module, "anas-check-certificate");
  if (status == ANAS_OK && train_it) {
    walk->trained++;
    status = train_step(walk, module);
  }
  if (status == ANAS_OK && lower_it) {
    walk->lowered++;
    status = lower(module, walk->batch);
  }
  anas_model_destroy(again);
  mlirModuleDestroy(module);
  return status;
}

static int report_failure(const struct walk *walk, int64_t step, const struct anas_model *child,
                          const struct anas_mutation_report *report) {
  fprintf(stderr, "fuzz_mutations: model %s, size %lld, seed %llu, step %lld: %s\n  %s\n", walk->model,
          (long long)walk->size, (unsigned long long)walk->seed, (long long)step, anas_error_message(),
          report->description);
  struct anas_strbuf text = {0};
  char path[128];
  snprintf(path, sizeof path, "fuzz-%s-%llu-%lld.mlir", walk->model, (unsigned long long)walk->seed, (long long)step);
  for (char *c = path; *c; c++)
    if (*c == '/') *c = '-';
  anas_model_print(child, &text);
  if (anas_file_write(path, anas_strbuf_text(&text), text.size) == ANAS_OK)
    fprintf(stderr, "  the child is in %s\n", path);
  anas_strbuf_deinit(&text);
  return 1;
}

static int run(struct walk *walk) {
  struct anas_model *current = anas_model_clone(walk->root);
  struct anas_rng rng = anas_rng_make(walk->seed);
  int patience = PATIENCE, stale = 0, code = 0; // stale: body mutations since the last other one
  for (int64_t step = 0; step < walk->count && !code;) {
    struct anas_mutation_report report = {0};
    struct anas_model *child = NULL;
    struct anas_model_cost cost;
    if (patience == 0 || stale == STALE) {
      walk->restarts++;
      patience = PATIENCE;
      stale = 0;
      anas_model_destroy(current);
      current = anas_model_clone(walk->root);
    }
    anas_status status = anas_mutate(current, &walk->options, &rng, &child, &report);
    if (status == ANAS_INFEASIBLE) {
      walk->infeasible++;
      patience--;
      continue;
    }
    if (status == ANAS_OK) status = anas_model_cost(child, walk->batch, &cost);
    if (status != ANAS_OK) {
      code = report_failure(walk, step, child ? child : current, &report);
      anas_model_destroy(child);
      break;
    }
    bool within = cost.params <= walk->limit.params && cost.macs <= walk->limit.macs;
    bool train_it =
        within && walk->train > 0 && step * walk->train / walk->count != (step + 1) * walk->train / walk->count;
    bool lower_it = within && walk->lower > 0 && step % walk->lower == 0;
    if (check_child(walk, child, lower_it, train_it) != ANAS_OK) code = report_failure(walk, step, child, &report);
    if (!within) {
      walk->rejected++;
      patience--;
      anas_model_destroy(child);
      continue;
    }
    walk->mutate += !strcmp(report.kind, "mutate");
    walk->duplicate += !strcmp(report.kind, "duplicate");
    walk->delete += !strcmp(report.kind, "delete");
    walk->chains += report.chains;
    walk->dropped += report.dropped;
    walk->residuals += report.residuals;
    patience = PATIENCE;
    stale = strcmp(report.kind, "mutate") ? 0 : stale + 1;
    anas_model_destroy(current);
    current = child;
    step++;
  }
  anas_model_destroy(current);
  return code;
}

static bool parse_arguments(int argc, char **argv, struct walk *walk) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const char *name = argv[i], *value = argv[i + 1];
    const struct {
      const char *name;
      int64_t *value;
    } numbers[] = {{"--size", &walk->size},
                   {"--count", &walk->count},
                   {"--train", &walk->train},
                   {"--lower", &walk->lower},
                   {"--batch", &walk->batch}};
    bool known = true;
    if (!strcmp(name, "--model"))
      walk->model = value;
    else if (!strcmp(name, "--settings"))
      walk->settings = value;
    else if (!strcmp(name, "--seed"))
      walk->seed = strtoull(value, NULL, 10);
    else if (!strcmp(name, "--growth"))
      walk->growth = strtod(value, NULL);
    else
      known = false;
    for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++)
      if (!strcmp(name, numbers[n].name)) {
        *numbers[n].value = strtoll(value, NULL, 10);
        known = true;
      }
    if (!known) return false;
  }
  return argc % 2 == 1 && walk->size > 0 && walk->count > 0 && walk->batch > 0 && walk->train >= 0 && walk->lower >= 0;
}

int main(int argc, char **argv) {
  struct walk walk = {.model = "cnn",
                      .settings = "",
                      .size = 8,
                      .count = 200,
                      .train = 10,
                      .lower = 1,
                      .batch = 4,
                      .seed = 1,
                      .growth = 4};
  if (!parse_arguments(argc, argv, &walk)) {
    fprintf(stderr, "usage: fuzz_mutations [--model NAME] [--size N] [--count N] [--seed N] [--train N] [--lower N] "
                    "[--batch N] [--growth X] [--settings TEXT]\n");
    return 1;
  }
  double start = seconds();
  walk.context = anas_context_create(false);
  struct anas_diagnostics *diagnostics = anas_diagnostics_attach(walk.context, "child", NULL);
  anas_status status = anas_mutation_configure(walk.settings, &walk.options);
  if (status == ANAS_OK) status = anas_zoo_build(walk.model, walk.size, walk.size, 3, 10, &walk.root);
  if (status == ANAS_OK) status = anas_model_cost(walk.root, walk.batch, &walk.limit);
  if (status != ANAS_OK) {
    fprintf(stderr, "fuzz_mutations: %s\n", anas_error_message());
    return 1;
  }
  walk.limit.params = (int64_t)((double)walk.limit.params * walk.growth);
  walk.limit.macs = (int64_t)((double)walk.limit.macs * walk.growth);
  int code = run(&walk);
  printf("{\"fuzz\":\"mutations\",\"model\":\"%s\",\"size\":%lld,\"seed\":%llu,\"mutations\":%lld,\"mutate\":%lld,"
         "\"duplicate\":%lld,\"delete\":%lld,\"chains\":%lld,\"dropped_branches\":%lld,\"residuals\":%lld,"
         "\"lowered\":%lld,\"trained\":%lld,\"beyond_limits\":%lld,\"infeasible\":%lld,\"restarts\":%lld,"
         "\"failures\":%d,\"seconds\":%.1f}\n",
         walk.model, (long long)walk.size, (unsigned long long)walk.seed,
         (long long)(walk.mutate + walk.duplicate + walk.delete), (long long)walk.mutate, (long long)walk.duplicate,
         (long long)walk.delete, (long long)walk.chains, (long long)walk.dropped, (long long)walk.residuals,
         (long long)walk.lowered, (long long)walk.trained, (long long)walk.rejected, (long long)walk.infeasible,
         (long long)walk.restarts, code, seconds() - start);
  anas_model_destroy(walk.root);
  anas_diagnostics_detach(diagnostics);
  mlirContextDestroy(walk.context);
  anas_team_shutdown();
  return code;
}
