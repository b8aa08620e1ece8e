// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The libraries our kernel functions are compared with. They are opened when the bench runs: neither the build nor
// anything else needs them (oneDNN's header, for its types, is used if it is there when anas-bench is built).
#ifndef ANAS_TOOLS_BENCH_PEER_H
#define ANAS_TOOLS_BENCH_PEER_H

#include "tools/anas-bench/layer.h"

// Settings the libraries read when they are opened; whatever the user has set stays. lanes: of the host.
void peers_set_environment(int lanes);

// ---- oneDNN: convolutions, in the layouts it likes best, for operands that are already in them

const char *dnnl_describe(void); // "2.6.3", or null: not there
struct dnnl_conv;
// The direct algorithm, or what oneDNN itself would choose (Winograd's for many 3x3 windows, not always to its
// advantage). Null if oneDNN is not there or refuses. threads: how many it may use.
struct dnnl_conv *dnnl_conv_create(const struct layer *layer, bool choose, int threads);
void dnnl_conv_destroy(struct dnnl_conv *conv);
const char *dnnl_conv_implementation(const struct dnnl_conv *conv); // "jit:avx512_core"
void dnnl_conv_run(struct dnnl_conv *conv);

// ---- OpenBLAS: products

const char *blas_describe(void); // "OpenBLAS 0.3.21 ... SkylakeX", or null: not there
struct blas_product;
struct blas_product *blas_product_create(const struct layer *layer, int threads);
void blas_product_destroy(struct blas_product *product);
// Products of many batch items are spread over our thread team, an item a thread; a single one over OpenBLAS's threads.
void blas_product_run(struct blas_product *product);

#endif
