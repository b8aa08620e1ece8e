// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// OpenBLAS, opened at run time.
#include "tools/anas-bench/peer.h"

#include "runtime/support/memory.h"
#include "runtime/team.h"

#include <dlfcn.h>
#include <stdlib.h>

// Values of the C interface to BLAS.
enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };

static struct {
  bool tried, there;
  void (*sgemm)(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a, int lda,
                const float *b, int ldb, float beta, float *c, int ldc);
  void (*set_num_threads)(int threads);
  char *(*get_config)(void);
} blas;

static void find(void *library, const char *name, void *out_function) {
  *(void **)out_function = dlsym(library, name);
}

static bool open_blas(void) {
  if (blas.tried) return blas.there;
  blas.tried = true;
  if (ANAS_NO_PEERS) return false;
  void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
  if (!library) return false;
  find(library, "cblas_sgemm", &blas.sgemm);
  find(library, "openblas_set_num_threads", &blas.set_num_threads);
  find(library, "openblas_get_config", &blas.get_config);
  blas.there = blas.sgemm && blas.set_num_threads && blas.get_config;
  return blas.there;
}

const char *blas_describe(void) {
  return open_blas() ? blas.get_config() : NULL;
}

struct blas_product {
  struct product product;
  int64_t items;
  int threads;
  float *operand[3];
};

struct blas_product *blas_product_create(const struct layer *layer, int threads) {
  if (!layer->is_product || !open_blas()) return NULL;
  struct blas_product *p = anas_alloc(sizeof *p);
  *p = (struct blas_product){.product = layer->product, .items = 1, .threads = threads};
  for (int i = 0; i < layer->product.num_loops; i++)
    p->items *= layer->product.loop[i].extent;
  for (int i = 0; i < 3; i++) {
    size_t bytes = (size_t)layer->product.elements[i] * sizeof(float);
    p->operand[i] = huge_alloc(bytes);
    if (!p->operand[i]) {
      blas_product_destroy(p);
      return NULL;
    }
    fill_floats(p->operand[i], bytes);
  }
  return p;
}

void blas_product_destroy(struct blas_product *p) {
  if (!p) return;
  for (int i = 0; i < 3; i++)
    huge_free(p->operand[i]);
  free(p);
}

static void run_items(void **operands, int64_t begin, int64_t end) {
  const struct blas_product *blas_product = operands[0];
  const struct product *p = &blas_product->product;
  for (int64_t item = begin; item < end; item++) {
    int64_t rest = item, a = 0, b = 0, c = 0;
    for (int i = p->num_loops - 1; i >= 0; i--) {
      int64_t at = rest % p->loop[i].extent;
      rest /= p->loop[i].extent;
      a += at * p->loop[i].a;
      b += at * p->loop[i].b;
      c += at * p->loop[i].c;
    }
    blas.sgemm(ROW_MAJOR, p->transpose_a ? TRANSPOSE : NO_TRANSPOSE, p->transpose_b ? TRANSPOSE : NO_TRANSPOSE,
               (int)p->m, (int)p->n, (int)p->k, 1, blas_product->operand[0] + a, (int)p->lda,
               blas_product->operand[1] + b, (int)p->ldb, 0, blas_product->operand[2] + c, (int)p->ldc);
  }
}

void blas_product_run(struct blas_product *p) {
  void *operands[] = {p};
  bool spread = p->threads > 1 && p->items > 1;
  blas.set_num_threads(spread ? 1 : p->threads);
  if (spread)
    anas_parallel_for(run_items, operands, p->items, 1);
  else
    run_items(operands, 0, p->items);
}
