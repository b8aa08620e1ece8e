// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What anas-train prints.
#include "tools/anas-train/report.h"

#include "runtime/support/file.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

void report_init(struct report *report, bool json, const struct anas_program_image *info) {
  *report = (struct report){.json = json, .terminal = !json && isatty(STDOUT_FILENO), .info = info};
}

// Prints one line and flushes, so that a reader of the pipe sees it at once. Takes the object.
static void print_json(json_t *object) {
  char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
  json_decref(object);
  puts(text ? text : "{}");
  fflush(stdout);
  free(text);
}

// Trainable scalars.
static int64_t count_params(const struct anas_program_image *info) {
  int64_t count = 0;
  for (int t = 0; t < info->num_tensors; t++)
    if (info->tensors[t].role == ANAS_TENSOR_PARAM) count += (int64_t)info->tensors[t].count;
  return count;
}

static int64_t peak_bytes(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (int64_t)usage.ru_maxrss * 1024;
}

static int64_t page_faults(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

// What the run will touch, known before it starts; the process itself and its libraries come on top.
static int64_t planned_bytes(const struct anas_program_image *info, const struct anas_dataset *dataset) {
  return (int64_t)(info->arena_bytes + info->params_bytes + anas_dataset_bytes(dataset));
}

void report_compiled(struct report *report, const char *model, const struct anas_dataset *dataset) {
  const struct anas_program_image *info = report->info;
  report->first_fault = page_faults();
  if (report->json) {
    print_json(json_pack(
        "{s:s, s:s, s:s, s:I, s:f, s:i, s:i, s:i, s:I, s:I, s:I, s:I}", "event", "compiled", "model", model, "dataset",
        dataset->name, "params", (json_int_t)count_params(info), "compile_seconds", info->compile_seconds, "kernels",
        info->num_kernels, "cache_hits", info->cache_hits, "cache_misses", info->cache_misses, "arena_bytes",
        (json_int_t)info->arena_bytes, "params_bytes", (json_int_t)info->params_bytes, "data_bytes",
        (json_int_t)anas_dataset_bytes(dataset), "planned_bytes", (json_int_t)planned_bytes(info, dataset)));
    return;
  }
  printf("%s: %lld parameters; %s: %lld training, %lld validation, %lld test images%s\n", model,
         (long long)count_params(info), dataset->name, (long long)dataset->train.count,
         (long long)dataset->validation.count, (long long)dataset->test.count,
         dataset->test.count ? "" : " (no test file found)");
  printf("compiled %d kernel functions in %.2f s (%d from the cache); planned memory %.1f MB\n", info->num_kernels,
         info->compile_seconds, info->cache_hits, (double)planned_bytes(info, dataset) / 1e6);
  fflush(stdout);
}

static void print_epoch(const struct anas_progress *p) {
  printf("epoch %lld/%lld  loss %.4f  train %.2f %%  val loss %.4f  val %.2f %%  %.0f images/s\n", (long long)p->epoch,
         (long long)p->epochs, p->epoch_loss, 100 * p->train_accuracy, p->val_loss, 100 * p->val_accuracy,
         p->images_per_second);
  fflush(stdout);
}

void report_progress(struct report *report, const struct anas_progress *p) {
  if (report->json) {
    json_t *line =
        json_pack("{s:s, s:I, s:I, s:f, s:f}", "event", p->epoch_done ? "epoch" : "step", "step", (json_int_t)p->step,
                  "epoch", (json_int_t)p->epoch, "loss", p->loss, "learning_rate", p->learning_rate);
    if (p->epoch_done) {
      json_object_set_new(line, "train_loss", json_real(p->epoch_loss));
      json_object_set_new(line, "train_accuracy", json_real(p->train_accuracy));
      json_object_set_new(line, "val_loss", json_real(p->val_loss));
      json_object_set_new(line, "val_accuracy", json_real(p->val_accuracy));
    }
    print_json(line);
    return;
  }
  double now = anas_now();
  if (report->terminal && (p->epoch_done || now - report->last_update > 0.2)) {
    report->last_update = now;
    printf("\r\033[Kepoch %lld/%lld  step %lld/%lld  loss %.4f  train %.2f %%", (long long)p->epoch,
           (long long)p->epochs, (long long)p->step, (long long)p->steps, p->loss, 100 * p->train_accuracy);
    if (p->epoch_done) printf("\r\033[K");
    fflush(stdout);
  }
  if (p->epoch_done) print_epoch(p);
}

void report_result(const struct report *report, const struct anas_train_result *result, double test_accuracy) {
  if (!report->json) {
    printf("validation accuracy %.2f %%, %.0f images/s (median), %.1f s, peak memory %.0f MB%s\n",
           100 * result->val_accuracy, result->images_per_second, result->seconds, (double)peak_bytes() / 1e6,
           result->stopped ? "; stopped early" : "");
    if (test_accuracy >= 0) printf("test accuracy %.2f %%\n", 100 * test_accuracy);
    return;
  }
  json_t *line = json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:f, s:I}", "event", "result", "val_accuracy",
                           result->val_accuracy, "val_loss", result->val_loss, "train_loss", result->train_loss,
                           "images_per_second", result->images_per_second, "compile_seconds",
                           report->info->compile_seconds, "peak_bytes", (json_int_t)peak_bytes(), "page_faults",
                           (json_int_t)(page_faults() - report->first_fault), "seconds", result->seconds, "steps",
                           (json_int_t)result->steps);
  if (test_accuracy >= 0) json_object_set_new(line, "test_accuracy", json_real(test_accuracy));
  print_json(line);
}

void report_evaluation(const struct report *report, double loss, double accuracy, double test_accuracy) {
  if (report->json) {
    json_t *line = json_pack("{s:s, s:f, s:f, s:f, s:I}", "event", "result", "val_accuracy", accuracy, "val_loss", loss,
                             "compile_seconds", report->info->compile_seconds, "peak_bytes", (json_int_t)peak_bytes());
    if (test_accuracy >= 0) json_object_set_new(line, "test_accuracy", json_real(test_accuracy));
    print_json(line);
    return;
  }
  printf("validation accuracy %.2f %%, loss %.4f\n", 100 * accuracy, loss);
  if (test_accuracy >= 0) printf("test accuracy %.2f %%\n", 100 * test_accuracy);
}
