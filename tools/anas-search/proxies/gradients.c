// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// grad_norm and snip, and the batch that all proxies look at.
#include "tools/anas-search/proxies/proxies.h"

#include "runtime/support/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

anas_status proxy_fill_batch(struct anas_program *program, const struct anas_dataset *dataset) {
  const struct anas_program_image *info = anas_program_info(program);
  const struct anas_images *images = &dataset->train;
  int64_t count = images->count < info->batch ? images->count : info->batch;
  uint32_t *indices = anas_calloc((size_t)count, sizeof *indices);
  for (int64_t i = 0; i < count; i++) // sets may be sorted by class
    indices[i] = (uint32_t)(i * images->count / count);
  char *arena = anas_program_arena(program);
  anas_status status = anas_batch_fill(dataset, images, indices, count, info->batch, (struct anas_augment){0}, NULL,
                                       (float *)(arena + info->image.offset), (int32_t *)(arena + info->label.offset));
  free(indices);
  return status;
}

// The momentum of a trainable tensor, which has the same name with a suffix; null if the program has none.
static const float *momentum_of(struct anas_program *program, const struct anas_tensor *tensor) {
  const struct anas_program_image *info = anas_program_info(program);
  size_t size = strlen(tensor->name);
  for (int t = 0; t < info->num_tensors; t++) {
    const char *name = info->tensors[t].name;
    if (info->tensors[t].role == ANAS_TENSOR_OPTIMIZER && !strncmp(name, tensor->name, size) &&
        !strcmp(name + size, ":momentum"))
      return (const float *)((const char *)anas_program_params(program) + info->tensors[t].offset);
  }
  return NULL;
}

anas_status proxy_gradients(struct anas_program *program, double *out_grad_norm, double *out_snip) {
  const struct anas_program_image *info = anas_program_info(program);
  char *arena = anas_program_arena(program), *params = anas_program_params(program);
  memset(arena + info->learning_rate.offset, 0, info->learning_rate.bytes);
  memset(arena + info->seed.offset, 0, info->seed.bytes);
  anas_program_train_step(program);
  ANAS_RETURN_IF_ERROR(anas_program_status(program));
  double norm = 0, snip = 0;
  for (int t = 0; t < info->num_tensors; t++) {
    const struct anas_tensor *tensor = &info->tensors[t];
    const float *momentum = tensor->role == ANAS_TENSOR_PARAM ? momentum_of(program, tensor) : NULL;
    if (!momentum) continue;
    const float *weight = (const float *)(params + tensor->offset);
    double squares = 0;
    for (size_t i = 0; i < tensor->count; i++) {
      double gradient = (double)momentum[i]; // was 0 before, and stays so where the loss does not depend on the tensor
      squares += gradient * gradient;
      snip += fabs(gradient * (double)weight[i]);
    }
    norm += sqrt(squares);
  }
  *out_grad_norm = norm;
  *out_snip = snip;
  return ANAS_OK;
}
