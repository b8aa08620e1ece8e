// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// NASWOT: how well the relus of a network tell images apart.
#include "tools/anas-search/proxies/proxies.h"

#include "runtime/support/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Cholesky. Pivots of K are whole numbers of results in exact arithmetic where images have equal codes: 0.
double proxy_log_determinant(double *m, int64_t n) {
  double sum = 0;
  for (int64_t j = 0; j < n; j++) {
    double *row = m + j * n, scale = row[j];
    for (int64_t k = 0; k < j; k++)
      row[j] -= row[k] * row[k];
    if (!(row[j] > 1e-10 * scale)) return -INFINITY;
    row[j] = sqrt(row[j]);
    sum += 2 * log(row[j]);
    for (int64_t i = j + 1; i < n; i++) {
      double *below = m + i * n;
      for (int64_t k = 0; k < j; k++)
        below[j] -= below[k] * row[k];
      below[j] /= row[j];
    }
  }
  return sum;
}

anas_status proxy_naswot(struct anas_program *program, double *out) {
  const struct anas_program_image *info = anas_program_info(program);
  anas_program_train_step(program);
  ANAS_RETURN_IF_ERROR(anas_program_status(program));
  int64_t n = info->batch;
  const float *agree = (const float *)((const char *)anas_program_arena(program) + info->logits.offset);
  double *kernel = anas_calloc((size_t)(n * n), sizeof *kernel);
  for (int64_t i = 0; i < n * n; i++) // every result agrees with itself: the diagonal is their number
    kernel[i] = 0.5 * ((double)agree[0] + (double)agree[i]);
  double result = proxy_log_determinant(kernel, n);
  free(kernel);
  if (!isfinite(result))
    return anas_fail(ANAS_UNSUPPORTED, "images of the batch have the same codes, or too few relus tell them apart");
  *out = result;
  return ANAS_OK;
}
