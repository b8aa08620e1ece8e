// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The training loop.
#include "runtime/trainer.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Crop padding of the CIFAR recipe (spec 5).
#define CROP_PAD 2

#define EXPONENTIAL_END 0.012 // of the peak

struct run {
  struct anas_program *program;
  const struct anas_dataset *dataset;
  const struct anas_train_options *options;
  int64_t batch, steps_per_epoch, total_steps;
  uint32_t *order; // of the training images in the current epoch
  struct anas_rng root;
  double *step_seconds; // of this call, without the first step
  size_t num_timed, capacity_timed;
};

static void *arena_at(struct anas_program *program, struct anas_region region) {
  return (char *)anas_program_arena(program) + region.offset;
}

const char *const anas_schedule_names[] = {"cosine", "constant", "exponential", NULL};

anas_status anas_schedule_parse(const char *option, const char *name, enum anas_schedule *out) {
  for (int i = 0; anas_schedule_names[i]; i++)
    if (!strcmp(anas_schedule_names[i], name)) {
      *out = (enum anas_schedule)i;
      return ANAS_OK;
    }
  return anas_fail(ANAS_INVALID, "%s: '%s' is none of cosine, constant and exponential", option, name);
}

static double learning_rate(const struct run *run, int64_t step /* from 0 */) {
  const struct anas_train_options *options = run->options;
  double warmup = options->warmup_epochs * (double)run->steps_per_epoch, t = (double)step;
  double rate = options->learning_rate;
  double progress = fmin(fmax((t - warmup) / fmax((double)run->total_steps - warmup, 1.0), 0.0), 1.0);
  if (options->schedule == ANAS_SCHEDULE_COSINE) rate *= 0.5 * (1.0 + cos(M_PI * progress));
  if (options->schedule == ANAS_SCHEDULE_EXPONENTIAL) rate *= pow(EXPONENTIAL_END, progress);
  // The first step already moves: step + 1 of the warm-up is done when it is applied.
  return warmup > 0 ? rate * fmin(1.0, (t + 1.0) / warmup) : rate;
}

static void order_epoch(struct run *run, int64_t epoch) {
  for (int64_t i = 0; i < run->dataset->train.count; i++)
    run->order[i] = (uint32_t)i;
  if (run->options->in_order) return;
  struct anas_rng rng = anas_rng_split_name(&run->root, "order");
  rng = anas_rng_split(&rng, (uint64_t)epoch);
  anas_rng_shuffle(&rng, run->order, (uint64_t)run->dataset->train.count);
}

// Prepares and runs one step; everything random depends on the seed and the step alone, so that a resumed run continues
// exactly where the first one stopped.
static anas_status run_step(struct run *run, int64_t step, double *out_loss, int64_t *out_correct) {
  const struct anas_program_image *info = anas_program_info(run->program);
  struct anas_rng rng = anas_rng_split_name(&run->root, "augment");
  rng = anas_rng_split(&rng, (uint64_t)step);
  int64_t first = step % run->steps_per_epoch * run->batch;
  ANAS_RETURN_IF_ERROR(anas_batch_fill(run->dataset, &run->dataset->train, run->order + first, run->batch, run->batch,
                                       (struct anas_augment){.enable = run->options->augment, .pad = CROP_PAD}, &rng,
                                       arena_at(run->program, info->image), arena_at(run->program, info->label)));
  *(float *)arena_at(run->program, info->learning_rate) = (float)learning_rate(run, step);
  struct anas_rng seed = anas_rng_split_name(&run->root, "step");
  seed = anas_rng_split(&seed, (uint64_t)step);
  *(uint64_t *)arena_at(run->program, info->seed) = anas_rng_u64(&seed);
  anas_program_train_step(run->program);
  *out_loss = *(float *)arena_at(run->program, info->loss);
  *out_correct = *(int32_t *)arena_at(run->program, info->correct);
  return ANAS_OK;
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median_rate(const struct run *run) {
  if (!run->num_timed) return 0;
  double *sorted = anas_calloc(run->num_timed, sizeof *sorted);
  memcpy(sorted, run->step_seconds, run->num_timed * sizeof *sorted);
  qsort(sorted, run->num_timed, sizeof *sorted, compare_doubles);
  double median = sorted[run->num_timed / 2];
  free(sorted);
  return median > 0 ? (double)run->batch / median : 0;
}

anas_status anas_evaluate(struct anas_program *program, const struct anas_dataset *dataset,
                          const struct anas_images *images, double *out_loss, double *out_accuracy) {
  const struct anas_program_image *info = anas_program_info(program);
  if (!images->count) return anas_fail(ANAS_INVALID, "data set '%s' has no images to evaluate on", dataset->name);
  int64_t batch = info->batch, correct = 0;
  double loss = 0;
  uint32_t *indices = anas_calloc((size_t)batch, sizeof *indices);
  anas_status status = ANAS_OK;
  for (int64_t first = 0; first < images->count; first += batch) {
    int64_t count = images->count - first < batch ? images->count - first : batch;
    for (int64_t i = 0; i < count; i++)
      indices[i] = (uint32_t)(first + i);
    status = anas_batch_fill(dataset, images, indices, count, batch, (struct anas_augment){0}, NULL,
                             arena_at(program, info->image), arena_at(program, info->label));
    if (status != ANAS_OK) break;
    anas_program_infer(program);
    loss += (double)*(float *)arena_at(program, info->loss) * (double)batch;
    correct += *(int32_t *)arena_at(program, info->correct);
  }
  free(indices);
  ANAS_RETURN_IF_ERROR(status);
  ANAS_RETURN_IF_ERROR(anas_program_status(program));
  *out_loss = loss / (double)images->count;
  *out_accuracy = (double)correct / (double)images->count;
  return ANAS_OK;
}

anas_status anas_check_fit(const struct anas_program_image *info, const struct anas_dataset *dataset) {
  const struct anas_images *train = &dataset->train;
  if (info->height != train->height || info->width != train->width || info->channels != train->channels)
    return anas_fail(ANAS_INVALID,
                     "the model takes %lldx%lldx%lld images but '%s' has %lldx%lldx%lld; build the model with --input "
                     "%lldx%lldx%lld",
                     (long long)info->height, (long long)info->width, (long long)info->channels, dataset->name,
                     (long long)train->height, (long long)train->width, (long long)train->channels,
                     (long long)train->height, (long long)train->width, (long long)train->channels);
  if (info->classes != dataset->classes)
    return anas_fail(ANAS_INVALID, "the model has %lld classes but '%s' has %lld", (long long)info->classes,
                     dataset->name, (long long)dataset->classes);
  if (train->count < info->batch)
    return anas_fail(ANAS_INVALID, "a batch of %lld needs as many training images; '%s' has %lld here",
                     (long long)info->batch, dataset->name, (long long)train->count);
  return ANAS_OK;
}

// next: index of the first stop that has not been passed.
static bool is_stop(const struct anas_train_options *options, int64_t steps, int *next) {
  while (*next < options->num_stops && options->stops[*next] < steps)
    (*next)++;
  return *next < options->num_stops && options->stops[*next] == steps;
}

static anas_status train_steps(struct run *run, anas_progress_fn callback, void *user,
                               struct anas_train_result *result) {
  double started = anas_now();
  struct anas_epoch_sums sums = run->options->first_sums;
  int stop = 0;
  anas_status status = ANAS_OK;
  for (int64_t step = run->options->first_step; step < run->total_steps && status == ANAS_OK; step++) {
    int64_t epoch = step / run->steps_per_epoch;
    if (step == run->options->first_step || step % run->steps_per_epoch == 0) {
      order_epoch(run, epoch);
      if (step % run->steps_per_epoch == 0) sums = (struct anas_epoch_sums){0};
    }
    double begin = anas_now(), loss;
    int64_t correct;
    status = run_step(run, step, &loss, &correct);
    if (status == ANAS_OK) status = anas_program_status(run->program);
    if (status != ANAS_OK) break;
    if (step > run->options->first_step) {
      run->step_seconds = anas_grow(run->step_seconds, run->num_timed, &run->capacity_timed, sizeof *run->step_seconds);
      run->step_seconds[run->num_timed++] = anas_now() - begin;
    }
    sums.loss += loss;
    sums.correct += correct;
    sums.steps++;
    result->steps = step + 1;
    result->train_loss = sums.loss / (double)sums.steps;
    if (!isfinite(loss)) {
      status =
          anas_fail(ANAS_DIVERGED, "the loss became %g at step %lld (epoch %lld); try a smaller learning rate than %g",
                    loss, (long long)step + 1, (long long)epoch + 1, run->options->learning_rate);
      break;
    }
    bool last = step + 1 == run->total_steps, at_stop = is_stop(run->options, step + 1, &stop);
    struct anas_progress progress = {
        .epoch = epoch + 1,
        .epochs = run->options->epochs,
        .step = step + 1,
        .steps = run->total_steps,
        .loss = loss,
        .epoch_loss = result->train_loss,
        .train_accuracy = (double)sums.correct / (double)(sums.steps * run->batch),
        .learning_rate = learning_rate(run, step),
        .sums = sums,
        .epoch_done = last || (step + 1) % run->steps_per_epoch == 0,
    };
    progress.validated = progress.epoch_done || at_stop;
    if (progress.validated) {
      progress.images_per_second = median_rate(run);
      const struct anas_images *images = &run->dataset->validation;
      status = anas_evaluate(run->program, run->dataset, images, &result->val_loss, &result->val_accuracy);
      progress.val_loss = result->val_loss;
      progress.val_accuracy = result->val_accuracy;
    }
    if (status == ANAS_OK && callback && !callback(&progress, user)) {
      result->stopped = true;
      break;
    }
  }
  result->images_per_second = median_rate(run);
  result->seconds = anas_now() - started;
  return status;
}

anas_status anas_train(struct anas_program *program, const struct anas_dataset *dataset,
                       const struct anas_train_options *options, anas_progress_fn progress, void *user,
                       struct anas_train_result *out_result) {
  const struct anas_program_image *info = anas_program_info(program);
  ANAS_RETURN_IF_ERROR(anas_check_fit(info, dataset));
  struct run run = {
      .program = program,
      .dataset = dataset,
      .options = options,
      .batch = info->batch,
      .steps_per_epoch = dataset->train.count / info->batch, // an incomplete last batch is left out
      .root = anas_rng_make(options->seed),
  };
  run.total_steps = run.steps_per_epoch * options->epochs;
  if (options->max_steps > 0 && options->max_steps < run.total_steps) run.total_steps = options->max_steps;
  if (options->first_step >= run.total_steps)
    return anas_fail(ANAS_INVALID, "nothing left to train: the checkpoint has %lld steps, the run asks for %lld",
                     (long long)options->first_step, (long long)run.total_steps);
  run.order = anas_calloc((size_t)dataset->train.count, sizeof *run.order);
  struct anas_train_result result = {0};
  anas_status status = train_steps(&run, progress, user, &result);
  free(run.order);
  free(run.step_seconds);
  *out_result = result;
  return status;
}
