// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Synaptic flow: how much every weight carries from an image of ones to the logits.
#include "tools/anas-search/proxies/proxies.h"

#include <math.h>

anas_status proxy_synflow(struct anas_program *program, double *out) {
  const struct anas_program_image *info = anas_program_info(program);
  char *arena = anas_program_arena(program), *params = anas_program_params(program);
  for (int t = 0; t < info->num_tensors; t++) {
    float *values = (float *)(params + info->tensors[t].offset);
    for (size_t i = 0; i < info->tensors[t].count; i++)
      values[i] = fabsf(values[i]);
  }
  float *image = (float *)(arena + info->image.offset);
  for (size_t i = 0; i < info->image.bytes / sizeof *image; i++)
    image[i] = 1;
  // With |w| for w, |g w| is what the other proxy adds up.
  double norm, flow;
  ANAS_RETURN_IF_ERROR(proxy_gradients(program, &norm, &flow));
  if (!isfinite(flow)) return anas_fail(ANAS_UNSUPPORTED, "the synaptic flow of this network exceeds single precision");
  *out = flow;
  return ANAS_OK;
}
