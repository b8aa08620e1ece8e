// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How much faster a step becomes with more threads, from its plan alone: which launches are split, into how many items
// of work at most, how many times threads must meet, and what one thread does alone. Nothing is run, so the answer
// depends on the program only. Memory bandwidth is left out: threads share it whether they work on one step or on
// several.
#include "passes/lower/compile.h"

// What a thread does in a second. Only ratios to the times below matter, and those but for small networks little.
#define FLOPS 100e9
#define BYTES 10e9
#define FORK_SECONDS 0.25e-6 // of one thread of a team; measured: 0.54 us for two (anas-bench threads)
#define CALL_SECONDS 0.1e-6  // of any launch
#define PREPARED_BYTES 2.5e9 // a second: loading and augmenting images, before the step, by one thread

// Share of the work that the slowest thread gets.
static double largest_share(int64_t items, int threads) {
  if (items <= 1) return 1;
  return (double)((items + threads - 1) / threads) / (double)items;
}

static double launch_seconds(const struct anas_program_image *image, const struct anas_call *call, int threads) {
  const struct anas_kernel *kernel = &image->kernels[call->kernel];
  double compute = kernel->flops / FLOPS, memory = kernel->bytes / BYTES;
  double alone = compute > memory ? compute : memory;
  // Groups that run in step are split by their slabs (runtime/group.c).
  int64_t items = image->objects[call->kernel].items;
  if (call->group && call->slabs >= 4 * (int64_t)threads) items = call->slabs;
  if (threads == 1 || items <= 1) return CALL_SECONDS + alone;
  return CALL_SECONDS + alone * largest_share(items, threads) + FORK_SECONDS * threads;
}

static double step_seconds(const struct anas_program_image *image, int threads) {
  double image_bytes = (double)(image->batch * image->height * image->width * image->channels) * sizeof(float);
  double seconds = image_bytes / PREPARED_BYTES;
  for (int i = 0; i < image->train_step.num_calls; i++)
    seconds += launch_seconds(image, &image->train_step.calls[i], threads);
  return seconds;
}

double anas_predict_speedup(const struct anas_program_image *image, int threads) {
  return step_seconds(image, 1) / step_seconds(image, threads > 1 ? threads : 1);
}
