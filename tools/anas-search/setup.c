// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Opening a search: the seed model, the data it fits, a new study or an existing one.
#include "tools/anas-search/pruners/pruner.h"

#include "dialect/context.h"
#include "dialect/zoo.h"
#include "passes/verify.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

double search_standardised(const struct search_objective *objective, const struct study_trial *trial) {
  double value = trial->metric[objective->metric];
  return objective->maximize ? value : -value;
}

double search_expected(const struct search *search, const struct search_objective *objective,
                       const struct study_trial *trial) {
  double value = pruner_expected(search, trial, objective->metric);
  return objective->maximize ? value : -value;
}

// ---- models

anas_status search_read_model(MlirContext context, const char *text, const char *name, struct anas_model **out) {
  MlirModule module;
  ANAS_RETURN_IF_ERROR(anas_parse(context, text, strlen(text), name, &module));
  struct anas_model *model = NULL;
  anas_status status = anas_verify_module(module);
  if (status == ANAS_OK) status = anas_model_import(module, &model);
  if (status == ANAS_OK) status = anas_model_infer_shapes(model);
  mlirModuleDestroy(module);
  if (status == ANAS_OK && anas_model_entry(model) < 0)
    status = anas_fail(ANAS_INVALID, "'%s' has no public function to train", name);
  if (status != ANAS_OK) {
    anas_model_destroy(model);
    return status;
  }
  *out = model;
  return ANAS_OK;
}

static anas_status read_model_file(MlirContext context, const char *path, struct anas_model **out) {
  char *text;
  size_t size;
  ANAS_RETURN_IF_ERROR(anas_file_read(path, &text, &size));
  struct anas_diagnostics *diagnostics = anas_diagnostics_attach(context, path, text);
  anas_status status = search_read_model(context, text, path, out);
  anas_diagnostics_detach(diagnostics);
  free(text);
  return status;
}

void search_keep_model(struct search *search, int64_t number, struct anas_model *model) {
  int64_t *slot = &search->cached[search->next_cached];
  search->next_cached = (search->next_cached + 1) % MAX_CACHED_MODELS;
  if (*slot > 0) { // number + 1
    anas_model_destroy(search->models[*slot - 1]);
    search->models[*slot - 1] = NULL;
  }
  *slot = number + 1;
  search->models[number] = model;
}

const struct anas_model *search_model(struct search *search, int64_t number) {
  if (search->models[number]) return search->models[number];
  char *path = study_trial_path(study_path(search->study), number, "candidate.mlir");
  struct anas_model *model = NULL;
  anas_status status = study_fetch(search->study, number, "candidate.mlir");
  if (status == ANAS_OK) status = read_model_file(search->context, path, &model);
  if (study_stored(search->study)) unlink(path); // not the folder: somebody may start from weights in it
  free(path);
  if (status != ANAS_OK) return NULL;
  search_keep_model(search, number, model);
  return model;
}

static anas_status build_seed(struct search *search) {
  const struct search_options *o = &search->options;
  struct anas_zoo_size size = {28, 28, 1, 10};
  if (!strcmp(o->dataset, "cifar10")) size = (struct anas_zoo_size){32, 32, 3, 10};
  if (search->dataset) {
    const struct anas_images *images = &search->dataset->train;
    size = (struct anas_zoo_size){images->height, images->width, images->channels, search->dataset->classes};
  }
  return anas_zoo_build(o->model_name, size.height, size.width, size.channels, size.classes, &search->seed);
}

static anas_status check_fits_dataset(const struct search *search) {
  if (!search->dataset) return ANAS_OK;
  const struct anas_function *f = &search->seed->functions[anas_model_entry(search->seed)];
  const struct anas_images *images = &search->dataset->train;
  const struct anas_shape *in = &f->arg[0];
  struct anas_shape want_in = {4, ANAS_F32, {ANAS_DYNAMIC, images->height, images->width, images->channels}};
  struct anas_shape want_out = {2, ANAS_F32, {ANAS_DYNAMIC, search->dataset->classes}};
  char got[128], want[128];
  if (f->num_args != 1 || !anas_shape_equal(in, &want_in))
    return anas_fail(ANAS_INVALID, "the model takes tensor<%s>, but images of %s are tensor<%s>",
                     f->num_args ? anas_shape_text(in, got) : "nothing", search->options.dataset,
                     anas_shape_text(&want_in, want));
  if (f->num_results != 1 || !anas_shape_equal(&f->result_type[0], &want_out))
    return anas_fail(ANAS_INVALID, "the model returns tensor<%s>, but %s needs tensor<%s> (one logit a class)",
                     f->num_results ? anas_shape_text(&f->result_type[0], got) : "nothing", search->options.dataset,
                     anas_shape_text(&want_out, want));
  return ANAS_OK;
}

// ---- the study

// For images of the size of the seed model, or of what the network of the zoo is made for.
anas_status search_open_dataset(struct search *search) {
  const struct search_options *o = &search->options;
  if (strcmp(o->evaluator, "train")) return ANAS_OK;
  struct anas_dataset_options dataset = {
      .directory = o->data_directory, .validation_count = o->validation, .limit = o->limit};
  if (search->seed) {
    const struct anas_shape *image = &search->seed->functions[anas_model_entry(search->seed)].arg[0];
    dataset.height = image->rank == 4 && image->dim[1] > 0 ? image->dim[1] : 0;
    dataset.width = image->rank == 4 && image->dim[2] > 0 ? image->dim[2] : 0;
  } else {
    const struct anas_zoo_entry *entry;
    ANAS_RETURN_IF_ERROR(anas_zoo_find(o->model_name, &entry));
    dataset.height = entry->reference.height;
    dataset.width = entry->reference.width;
  }
  return anas_dataset_open(o->dataset, &dataset, &search->dataset);
}

static anas_status find_strategy(struct search *search) {
  search->strategy = search_strategy_find(search->options.strategy);
  return search->strategy
             ? ANAS_OK
             : anas_fail(ANAS_UNSUPPORTED, "this anas-search has no strategy '%s'", search->options.strategy);
}

// Somebody must do the work, and how much is under way must be known.
static anas_status check_workers(const struct search_options *o) {
  if (o->workers) return ANAS_OK;
  if (!study_location_shared(o->study))
    return anas_fail(ANAS_INVALID, "--workers 0 leaves the trials to anas-search worker, which needs a study in "
                                   "PostgreSQL: --study postgresql://...");
  return o->synchronous || o->in_flight
             ? ANAS_OK
             : anas_fail(ANAS_INVALID, "--workers 0 needs --in-flight N (how many trials are decided ahead) or "
                                       "--synchronous N");
}

anas_status search_start(struct search *search) {
  if (study_exists(search->options.study))
    return anas_fail(ANAS_INVALID, "'%s' already holds a study; continue it with --resume or choose another %s",
                     search->options.study,
                     study_location_shared(search->options.study) ? "name: URI#NAME" : "directory");
  ANAS_RETURN_IF_ERROR(check_workers(&search->options));
  if (search->options.artefacts && !study_location_shared(search->options.study))
    return anas_fail(ANAS_INVALID, "--artefacts is for studies in a database; '%s' holds its files itself",
                     search->options.study);
  ANAS_RETURN_IF_ERROR(find_strategy(search));
  const char *path = search->options.model_path;
  if (path) ANAS_RETURN_IF_ERROR(read_model_file(search->context, path, &search->seed));
  ANAS_RETURN_IF_ERROR(search_open_dataset(search));
  if (!path) ANAS_RETURN_IF_ERROR(build_seed(search));
  ANAS_RETURN_IF_ERROR(check_fits_dataset(search));
  search_pack(search);
  char *json = search_options_to_json(&search->options);
  struct anas_strbuf text = {0};
  anas_model_print(search->seed, &text);
  anas_status status = study_create(search->options.study, json, anas_strbuf_text(&text), &search->study);
  if (status == ANAS_OK && search->options.artefacts)
    status = study_keep_files_in(search->study, search->options.artefacts);
  anas_strbuf_deinit(&text);
  free(json);
  return status;
}

anas_status search_read_study(struct search *search) {
  const char *path = study_name(search->study);
  char *json, *seed_text;
  ANAS_RETURN_IF_ERROR(study_get(search->study, "options", &json));
  anas_status status = json ? search_options_from_json(json, &search->options)
                            : anas_fail(ANAS_CORRUPT, "study '%s' has no options", path);
  free(json);
  ANAS_RETURN_IF_ERROR(status);
  ANAS_RETURN_IF_ERROR(find_strategy(search));
  ANAS_RETURN_IF_ERROR(study_get(search->study, "seed-model", &seed_text));
  status = seed_text ? search_read_model(search->context, seed_text, "seed model of the study", &search->seed)
                     : anas_fail(ANAS_CORRUPT, "study '%s' has no seed model", path);
  free(seed_text);
  ANAS_RETURN_IF_ERROR(status);
  ANAS_RETURN_IF_ERROR(study_load(search->study, 0, &search->trials, &search->num_trials));
  ANAS_RETURN_IF_ERROR(study_load_curves(search->study, search->trials, search->num_trials));
  ANAS_RETURN_IF_ERROR(study_counter(search->study, "duplicates", &search->duplicates));
  search->capacity_trials = search->capacity_models = (size_t)search->num_trials;
  search->models = anas_calloc((size_t)search->num_trials, sizeof *search->models);
  return ANAS_OK;
}

anas_status search_load(struct search *search, const char *path, bool write) {
  ANAS_RETURN_IF_ERROR(study_open(path, write, &search->study));
  return search_read_study(search);
}

anas_status search_catch_up(struct search *search) {
  struct study_trial *more;
  int64_t count;
  ANAS_RETURN_IF_ERROR(study_load(search->study, search->num_trials, &more, &count));
  for (int64_t i = 0; i < count; i++) {
    size_t number = (size_t)search->num_trials;
    search->trials = anas_grow(search->trials, number, &search->capacity_trials, sizeof *search->trials);
    search->models = anas_grow(search->models, number, &search->capacity_models, sizeof(void *));
    search->trials[number] = more[i];
    search->models[number] = NULL;
    search->num_trials++;
  }
  free(more);
  return ANAS_OK;
}

void search_deinit(struct search *search) {
  for (int64_t i = 0; search->models && i < search->num_trials; i++)
    anas_model_destroy(search->models[i]);
  if (search->memory) search->strategy->forget(search->memory);
  free(search->models);
  free(search->index);
  pruner_log_deinit(search);
  pruner_gains_deinit(search);
  free(search->decisions);
  study_trials_free(search->trials, search->num_trials);
  anas_model_destroy(search->seed);
  free(search->seed_metric);
  if (search->dataset) anas_dataset_close(search->dataset);
  study_close(search->study);
  mlirContextDestroy(search->context);
  search_options_deinit(&search->options);
}

anas_status search_resume(struct search *search, int argc, char **argv) {
  ANAS_RETURN_IF_ERROR(search_load(search, search->options.study, true));
  ANAS_RETURN_IF_ERROR(search_options_budget(argc, argv, &search->options));
  ANAS_RETURN_IF_ERROR(check_workers(&search->options));
  search_pack(search);
  ANAS_RETURN_IF_ERROR(study_reclaim(search->study));
  char *json = search_options_to_json(&search->options);
  anas_status status = study_set(search->study, "options", json);
  free(json);
  return status == ANAS_OK ? search_open_dataset(search) : status;
}
