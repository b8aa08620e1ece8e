// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Measures of networks that were never trained, from one batch of images (Abdelfattah et al., 2021), computed by the
// code that is generated for the network. Parameters are initialised; they and the arena are left in any state.
#ifndef ANAS_TOOLS_ANAS_SEARCH_PROXIES_H
#define ANAS_TOOLS_ANAS_SEARCH_PROXIES_H

#include "runtime/data.h"
#include "runtime/program.h"

// A batch of images spread over the training set, in the arena.
anas_status proxy_fill_batch(struct anas_program *program, const struct anas_dataset *dataset);

// Of a training program with a batch in its arena and initialised parameters: a training step at rate 0 leaves the
// gradients of the loss in the momenta if these are those of sgd without weight decay.
//   grad_norm  sum over the trainable tensors of |g|
//   snip       sum over the trainable scalars of |g w| (Lee et al., 2019)
anas_status proxy_gradients(struct anas_program *program, double *out_grad_norm, double *out_snip);

// Of an ANAS_PROGRAM_SYNFLOW program with batch 1 and initialised parameters: sum over the scalars of |w dR/dw|, where
// R is the sum of the logits of an image of ones under the weights |w| (Tanaka et al., 2020). ANAS_UNSUPPORTED if that
// exceeds single precision.
anas_status proxy_synflow(struct anas_program *program, double *out);

// Of an ANAS_PROGRAM_CODES program with a batch in its arena and initialised parameters: log |det K|, K[i][j] the
// number of relu results that are positive for both images i and j or for neither (Mellor et al., 2021).
// ANAS_UNSUPPORTED if K is singular: two images have the same codes.
anas_status proxy_naswot(struct anas_program *program, double *out);
// log |det m| of a symmetric positive semi-definite matrix, which is overwritten; -infinity if it is singular.
double proxy_log_determinant(double *m, int64_t n);

#endif
