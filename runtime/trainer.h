// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The training loop: batches, schedule, evaluation; metrics through a callback.
#ifndef ANAS_RUNTIME_TRAINER_H
#define ANAS_RUNTIME_TRAINER_H

#include "runtime/data.h"
#include "runtime/program.h"

// Of an epoch that is not at its end.
struct anas_epoch_sums {
  double loss; // of the steps
  int64_t correct, steps;
};

// How the learning rate goes on from its peak after the warm-up.
enum anas_schedule { ANAS_SCHEDULE_COSINE, ANAS_SCHEDULE_CONSTANT, ANAS_SCHEDULE_EXPONENTIAL };
extern const char *const anas_schedule_names[]; // "cosine", ...; ends with null
anas_status anas_schedule_parse(const char *option, const char *name, enum anas_schedule *out);

struct anas_train_options {
  int64_t epochs;
  int64_t max_steps;           // 0: no limit
  double learning_rate;        // peak
  double warmup_epochs;        // linear from 0
  enum anas_schedule schedule; // cosine: half of one, to 0; exponential: to 1.2 % of the peak
  uint64_t seed;               // data order, augmentation, dropout
  bool augment;
  bool in_order;                     // images in the order of the data set in every epoch, not shuffled
  int64_t first_step;                // resume after this many steps
  struct anas_epoch_sums first_sums; // of the epoch they ended in; zeros at an epoch's end, or if unknown
  const int64_t *stops;              // ascending: steps after which there are validation figures as after an epoch
  int num_stops;
};

struct anas_progress {
  int64_t epoch, epochs, step, steps; // step counts from 1 over the whole run
  double loss;                        // of the last step
  double epoch_loss, train_accuracy;  // running means of the epoch
  double learning_rate;
  double images_per_second; // median over steps after the first so far
  struct anas_epoch_sums sums;
  bool epoch_done; // the last step, or the last one of an epoch
  bool validated;  // there are validation figures: epoch_done, or one of the stops
  double val_loss, val_accuracy;
};
// Returning false stops the run cleanly after this step.
typedef bool (*anas_progress_fn)(const struct anas_progress *progress, void *user);

struct anas_train_result {
  double val_accuracy, val_loss; // of the last evaluation, accuracy 0..1
  double train_loss;             // mean of the last epoch
  double images_per_second;      // median over steps after the first, data loading included
  double seconds;
  int64_t steps;
  bool stopped; // by the callback
};

// ANAS_INVALID unless the program takes the images and classes of the data set; the message holds both. anas_train
// checks it too.
anas_status anas_check_fit(const struct anas_program_image *info, const struct anas_dataset *dataset);

// ANAS_DIVERGED with the step in the message if the loss stops being finite; *out_result is filled as far as it went.
anas_status anas_train(struct anas_program *program, const struct anas_dataset *dataset,
                       const struct anas_train_options *options, anas_progress_fn progress, void *user,
                       struct anas_train_result *out_result);
anas_status anas_evaluate(struct anas_program *program, const struct anas_dataset *dataset,
                          const struct anas_images *images, double *out_loss, double *out_accuracy);

#endif
