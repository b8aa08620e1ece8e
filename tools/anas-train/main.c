// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-train: compiles and trains one architecture.
#include "dialect/context.h"
#include "dialect/model.h"
#include "passes/gpu/gpu.h"
#include "passes/lower/compile.h"
#include "runtime/init.h"
#include "runtime/support/file.h"
#include "runtime/team.h"
#include "runtime/trainer.h"
#include "runtime/weights.h"
#include "tools/anas-train/options.h"
#include "tools/anas-train/profile.h"
#include "tools/anas-train/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct session {
  const struct options *options;
  struct anas_dataset *dataset;
  struct anas_device *device; // null: this machine's processors
  struct anas_program *program;
  struct report report;
  anas_status save_status; // of the last epoch's save
};

// Opens the data set for the images the module takes, if that says so.
static anas_status open_dataset(const struct options *options, MlirModule module, struct anas_dataset **out) {
  struct anas_dataset_options dataset = {
      .directory = options->data, .validation_count = options->validation, .limit = options->limit};
  struct anas_model *model;
  ANAS_RETURN_IF_ERROR(anas_model_import(module, &model));
  int entry = anas_model_entry(model);
  const struct anas_shape *image = entry >= 0 ? &model->functions[entry].arg[0] : NULL;
  if (image && image->rank == 4 && image->dim[1] > 0 && image->dim[2] > 0) {
    dataset.height = image->dim[1];
    dataset.width = image->dim[2];
  }
  anas_model_destroy(model);
  return anas_dataset_open(options->dataset, &dataset, out);
}

static anas_status compile_host(const struct session *session, MlirModule module, struct anas_program_image *out) {
  const struct options *options = session->options;
  struct anas_compile_report report = {0};
  struct anas_compile_options compile_options = {
      .batch = options->batch,
      .optimizer = options->optimizer,
      .cpu = options->compile_cpu,
      .precision = options->precision,
      .reference = options->reference,
      .no_winograd = options->no_winograd,
      .no_cache = options->no_cache,
      .tune = options->tune,
      .report = options->compile_report ? &report : NULL,
  };
  if (options->memory_limit)
    ANAS_RETURN_IF_ERROR(anas_memory_budget((int64_t)options->memory_limit, anas_dataset_bytes(session->dataset),
                                            &compile_options.memory_limit));
  ANAS_RETURN_IF_ERROR(anas_compile(module, &compile_options, out));
  if (!options->compile_report) return ANAS_OK;
  anas_status status = anas_compile_report_write(&report, options->model, options->report_path);
  anas_compile_report_deinit(&report);
  if (status != ANAS_OK) anas_program_image_deinit(out);
  return status;
}

static anas_status compile_device(const struct options *options, MlirModule module, struct anas_device_program *out) {
  struct anas_gpu_target target;
  ANAS_RETURN_IF_ERROR(anas_gpu_target_init(NULL, options->precision, &target));
  return anas_gpu_compile(module, options->batch, &options->optimizer, &target, out);
}

// Opens the data set and compiles the model. What compiling needed is gone when the program is loaded.
static anas_status prepare(struct session *session) {
  const struct options *options = session->options;
  MlirContext context = anas_context_create(false);
  struct anas_diagnostics *diagnostics = anas_diagnostics_attach(context, options->model, NULL);
  struct anas_program_image image;
  struct anas_device_program program;
  MlirModule module;
  anas_status status = anas_parse_file(context, options->model, &module);
  if (status == ANAS_OK) {
    // The data first: a wrong folder is found before any time goes into compilation.
    status = open_dataset(options, module, &session->dataset);
    if (status == ANAS_OK)
      status = session->device ? compile_device(options, module, &program) : compile_host(session, module, &image);
    mlirModuleDestroy(module);
  }
  anas_diagnostics_detach(diagnostics);
  mlirContextDestroy(context);
  if (status != ANAS_OK) return status;
  return session->device ? anas_device_program_load(&program, session->device, &session->program)
                         : anas_program_load(&image, &session->program);
}

static anas_status save_weights(const struct session *session, int64_t step) {
  char text[24];
  snprintf(text, sizeof text, "%" PRId64, step);
  const char *metadata[] = {"format", "anas", "step", text, NULL};
  return anas_weights_save(session->options->save, anas_program_info(session->program),
                           anas_program_params(session->program), true, metadata);
}

// Loads weights to start from; *out_step is how many steps they have seen.
static anas_status start_weights(const struct session *session, int64_t *out_step) {
  const struct options *options = session->options;
  const struct anas_program_image *info = anas_program_info(session->program);
  void *params = anas_program_params(session->program);
  ANAS_RETURN_IF_ERROR(anas_init_params(info, (uint64_t)options->seed, params));
  bool resume = options->resume && access(options->save, F_OK) == 0;
  const char *path = resume ? options->save : options->weights;
  if (!path) return ANAS_OK;
  bool has_optimizer;
  ANAS_RETURN_IF_ERROR(anas_weights_load(path, info, params, &has_optimizer));
  if (!resume) return ANAS_OK;
  char *step = NULL;
  ANAS_RETURN_IF_ERROR(anas_weights_metadata(path, "step", &step));
  if (!step || !has_optimizer) {
    free(step);
    return anas_fail(ANAS_INVALID, "'%s' holds weights only and cannot be resumed; use --weights to start from it",
                     path);
  }
  *out_step = strtoll(step, NULL, 10);
  free(step);
  return ANAS_OK;
}

static bool on_progress(const struct anas_progress *progress, void *user) {
  struct session *session = user;
  report_progress(&session->report, progress);
  if (progress->epoch_done && session->options->save) session->save_status = save_weights(session, progress->step);
  return session->save_status == ANAS_OK;
}

static anas_status test_accuracy(const struct session *session, double *out) {
  double loss;
  *out = -1;
  if (!session->dataset->test.count) return ANAS_OK;
  return anas_evaluate(session->program, session->dataset, &session->dataset->test, &loss, out);
}

static anas_status evaluate(const struct session *session) {
  double loss, accuracy, test;
  ANAS_RETURN_IF_ERROR(
      anas_evaluate(session->program, session->dataset, &session->dataset->validation, &loss, &accuracy));
  ANAS_RETURN_IF_ERROR(test_accuracy(session, &test));
  report_evaluation(&session->report, loss, accuracy, test);
  return ANAS_OK;
}

static anas_status train(struct session *session, int64_t first_step) {
  const struct options *options = session->options;
  struct anas_train_options train_options = {
      .epochs = options->epochs,
      .max_steps = options->max_steps,
      .learning_rate = options->learning_rate,
      .warmup_epochs = options->warmup,
      .schedule = options->schedule,
      .seed = (uint64_t)options->seed,
      .augment = options->augment,
      .in_order = options->no_shuffle,
      .first_step = first_step,
  };
  struct anas_train_result result;
  double test;
  ANAS_RETURN_IF_ERROR(anas_train(session->program, session->dataset, &train_options, on_progress, session, &result));
  ANAS_RETURN_IF_ERROR(session->save_status);
  ANAS_RETURN_IF_ERROR(test_accuracy(session, &test));
  if (options->profile) ANAS_RETURN_IF_ERROR(profile_kernels(session->program, options->compile_cpu, options->json));
  report_result(&session->report, &result, test);
  return ANAS_OK;
}

static anas_status run(struct session *session) {
  const struct options *options = session->options;
  if (options->threads) anas_team_set_size((int)options->threads);
  if (options->on_device) ANAS_RETURN_IF_ERROR(anas_device_open(options->device, 0, &session->device));
  ANAS_RETURN_IF_ERROR(prepare(session));
  ANAS_RETURN_IF_ERROR(anas_check_fit(anas_program_info(session->program), session->dataset));
  report_init(&session->report, options->json, anas_program_info(session->program));
  int64_t first_step = 0;
  ANAS_RETURN_IF_ERROR(start_weights(session, &first_step));
  report_compiled(&session->report, options->model, session->dataset);
  return options->eval_only ? evaluate(session) : train(session, first_step);
}

int main(int argc, char **argv) {
  struct options options;
  bool done = false;
  struct session session = {.options = &options};
  anas_status status = options_parse(argc, argv, &options, &done);
  if (status == ANAS_OK && done) return 0;
  if (status == ANAS_OK) status = run(&session);
  if (status != ANAS_OK) fprintf(stderr, "anas-train: error: %s\n", anas_error_message());
  anas_program_destroy(session.program);
  anas_device_close(session.device);
  anas_dataset_close(session.dataset);
  anas_team_shutdown();
  return status == ANAS_OK ? 0 : 1;
}
