// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// oneDNN (version 2), opened at run time.
#include "tools/anas-bench/peer.h"

#include "runtime/support/memory.h"

#include <stdlib.h>

#ifdef ANAS_HAVE_DNNL
#include <dlfcn.h>
#include <dnnl.h>
#include <string.h>

#define FUNCTIONS(X)                                                                                                   \
  X(dnnl_version)                                                                                                      \
  X(dnnl_engine_create)                                                                                                \
  X(dnnl_stream_create)                                                                                                \
  X(dnnl_stream_wait)                                                                                                  \
  X(dnnl_memory_desc_init_by_tag)                                                                                      \
  X(dnnl_memory_desc_get_size)                                                                                         \
  X(dnnl_memory_create)                                                                                                \
  X(dnnl_memory_destroy)                                                                                               \
  X(dnnl_dilated_convolution_forward_desc_init)                                                                        \
  X(dnnl_dilated_convolution_backward_data_desc_init)                                                                  \
  X(dnnl_dilated_convolution_backward_weights_desc_init)                                                               \
  X(dnnl_primitive_desc_create)                                                                                        \
  X(dnnl_primitive_desc_destroy)                                                                                       \
  X(dnnl_primitive_desc_query)                                                                                         \
  X(dnnl_primitive_desc_query_md)                                                                                      \
  X(dnnl_primitive_create)                                                                                             \
  X(dnnl_primitive_destroy)                                                                                            \
  X(dnnl_primitive_execute)

static struct {
  bool tried, there;
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  void (*set_num_threads)(int threads); // of its OpenMP library
#define MEMBER(name) __typeof__(name) *name;
  FUNCTIONS(MEMBER)
} api;

static void find(void *library, const char *name, void *out_function) {
  *(void **)out_function = dlsym(library, name);
}

static bool open_dnnl(void) {
  if (api.tried) return api.there;
  api.tried = true;
  if (ANAS_NO_PEERS) return false;
  char *name = anas_format("libdnnl.so.%d", DNNL_VERSION_MAJOR);
  void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  free(name);
  if (!library) return false;
  bool complete = true;
#define FIND(name)                                                                                                     \
  find(library, #name, &api.name);                                                                                     \
  complete = complete && api.name;
  FUNCTIONS(FIND)
  find(library, "omp_set_num_threads", &api.set_num_threads); // null for a build with another threading
  api.there = complete && api.dnnl_engine_create(&api.engine, dnnl_cpu, 0) == dnnl_success &&
              api.dnnl_stream_create(&api.stream, api.engine, dnnl_stream_default_flags) == dnnl_success;
  return api.there;
}

const char *dnnl_describe(void) {
  static char text[32];
  if (!open_dnnl()) return NULL;
  const dnnl_version_t *version = api.dnnl_version();
  snprintf(text, sizeof text, "%d.%d.%d", version->major, version->minor, version->patch);
  return text;
}

struct dnnl_conv {
  int threads;
  dnnl_primitive_desc_t forward, desc; // forward: the hint of the backward passes; else null
  dnnl_primitive_t primitive;
  dnnl_memory_t memory[3];
  void *data[3];
  dnnl_exec_arg_t args[3];
  const char *implementation;
};

struct geometry {
  dnnl_memory_desc_t input, kernel, result;
  dnnl_dims_t stride, dilation, low, high;
};

static bool describe(const struct anas_conv *conv, struct geometry *g) {
  dnnl_dims_t input = {conv->batch, conv->channels}, result = {conv->batch, conv->features}, kernel;
  int at = 0;
  if (conv->groups > 1) kernel[at++] = conv->groups;
  kernel[at++] = conv->features / conv->groups;
  kernel[at++] = conv->channels / conv->groups;
  for (int d = 0; d < conv->spatial; d++) {
    const struct anas_conv_dim *dim = &conv->dim[d];
    input[2 + d] = dim->in;
    result[2 + d] = dim->out;
    kernel[at++] = dim->window;
    g->stride[d] = dim->stride;
    g->dilation[d] = dim->dilation - 1;
    g->low[d] = dim->pad;
    g->high[d] = (dim->out - 1) * dim->stride + (dim->window - 1) * dim->dilation + 1 - dim->in - dim->pad;
    if (g->high[d] < 0) g->high[d] = 0; // inputs that no window reaches
  }
  int rank = conv->spatial + 2;
  return !api.dnnl_memory_desc_init_by_tag(&g->input, rank, input, dnnl_f32, dnnl_format_tag_any) &&
         !api.dnnl_memory_desc_init_by_tag(&g->kernel, at, kernel, dnnl_f32, dnnl_format_tag_any) &&
         !api.dnnl_memory_desc_init_by_tag(&g->result, rank, result, dnnl_f32, dnnl_format_tag_any);
}

static dnnl_primitive_desc_t create_forward(const struct geometry *g, dnnl_alg_kind_t algorithm) {
  dnnl_convolution_desc_t desc;
  dnnl_primitive_desc_t result;
  if (api.dnnl_dilated_convolution_forward_desc_init(&desc, dnnl_forward_training, algorithm, &g->input, &g->kernel,
                                                     NULL, &g->result, g->stride, g->dilation, g->low,
                                                     g->high) != dnnl_success ||
      api.dnnl_primitive_desc_create(&result, &desc, NULL, api.engine, NULL) != dnnl_success)
    return NULL;
  return result;
}

static dnnl_primitive_desc_t create_backward(const struct geometry *g, enum conv_pass pass, dnnl_alg_kind_t algorithm,
                                             dnnl_primitive_desc_t hint) {
  dnnl_convolution_desc_t desc;
  dnnl_primitive_desc_t result;
  dnnl_status_t status =
      pass == CONV_BACKWARD_DATA
          ? api.dnnl_dilated_convolution_backward_data_desc_init(&desc, algorithm, &g->input, &g->kernel, &g->result,
                                                                 g->stride, g->dilation, g->low, g->high)
          : api.dnnl_dilated_convolution_backward_weights_desc_init(
                &desc, algorithm, &g->input, &g->kernel, NULL, &g->result, g->stride, g->dilation, g->low, g->high);
  if (status != dnnl_success || api.dnnl_primitive_desc_create(&result, &desc, NULL, api.engine, hint) != dnnl_success)
    return NULL;
  return result;
}

static bool create_operands(struct dnnl_conv *conv, enum conv_pass pass) {
  static const struct {
    dnnl_query_t query;
    int arg;
  } operands[3][3] = {
      [CONV_FORWARD] = {{dnnl_query_src_md, DNNL_ARG_SRC},
                        {dnnl_query_weights_md, DNNL_ARG_WEIGHTS},
                        {dnnl_query_dst_md, DNNL_ARG_DST}},
      [CONV_BACKWARD_DATA] = {{dnnl_query_diff_src_md, DNNL_ARG_DIFF_SRC},
                              {dnnl_query_weights_md, DNNL_ARG_WEIGHTS},
                              {dnnl_query_diff_dst_md, DNNL_ARG_DIFF_DST}},
      [CONV_BACKWARD_FILTER] = {{dnnl_query_src_md, DNNL_ARG_SRC},
                                {dnnl_query_diff_weights_md, DNNL_ARG_DIFF_WEIGHTS},
                                {dnnl_query_diff_dst_md, DNNL_ARG_DIFF_DST}},
  };
  for (int i = 0; i < 3; i++) {
    const dnnl_memory_desc_t *desc = api.dnnl_primitive_desc_query_md(conv->desc, operands[pass][i].query, 0);
    if (!desc) return false;
    size_t bytes = api.dnnl_memory_desc_get_size(desc);
    conv->data[i] = huge_alloc(bytes);
    if (!conv->data[i]) return false;
    fill_floats(conv->data[i], bytes);
    if (api.dnnl_memory_create(&conv->memory[i], desc, api.engine, conv->data[i]) != dnnl_success) return false;
    conv->args[i] = (dnnl_exec_arg_t){operands[pass][i].arg, conv->memory[i]};
  }
  return true;
}

struct dnnl_conv *dnnl_conv_create(const struct layer *layer, bool choose, int threads) {
  struct geometry geometry;
  if (!layer->is_conv || !open_dnnl() || !describe(&layer->conv, &geometry)) return NULL;
  struct dnnl_conv *conv = anas_alloc(sizeof *conv);
  conv->threads = threads;
  dnnl_alg_kind_t algorithm = choose ? dnnl_convolution_auto : dnnl_convolution_direct;
  if (api.set_num_threads) api.set_num_threads(threads); // a primitive is made for as many threads as there are
  conv->desc = create_forward(&geometry, algorithm);
  if (conv->desc && layer->pass != CONV_FORWARD) {
    conv->forward = conv->desc;
    conv->desc = create_backward(&geometry, layer->pass, algorithm, conv->forward);
  }
  bool ok =
      conv->desc && create_operands(conv, layer->pass) &&
      api.dnnl_primitive_create(&conv->primitive, conv->desc) == dnnl_success &&
      api.dnnl_primitive_desc_query(conv->desc, dnnl_query_impl_info_str, 0, &conv->implementation) == dnnl_success;
  if (ok) return conv;
  dnnl_conv_destroy(conv);
  return NULL;
}

void dnnl_conv_destroy(struct dnnl_conv *conv) {
  if (!conv) return;
  if (conv->primitive) api.dnnl_primitive_destroy(conv->primitive);
  for (int i = 0; i < 3; i++) {
    if (conv->memory[i]) api.dnnl_memory_destroy(conv->memory[i]);
    huge_free(conv->data[i]);
  }
  if (conv->desc) api.dnnl_primitive_desc_destroy(conv->desc);
  if (conv->forward) api.dnnl_primitive_desc_destroy(conv->forward);
  free(conv);
}

const char *dnnl_conv_implementation(const struct dnnl_conv *conv) {
  return conv->implementation;
}

void dnnl_conv_run(struct dnnl_conv *conv) {
  if (api.set_num_threads) api.set_num_threads(conv->threads);
  api.dnnl_primitive_execute(conv->primitive, api.stream, 3, conv->args);
  api.dnnl_stream_wait(api.stream);
}

#else

const char *dnnl_describe(void) {
  return NULL;
}
struct dnnl_conv *dnnl_conv_create(const struct layer *layer, bool choose, int threads) {
  (void)layer, (void)choose, (void)threads;
  return NULL;
}
void dnnl_conv_destroy(struct dnnl_conv *conv) {
  (void)conv;
}
const char *dnnl_conv_implementation(const struct dnnl_conv *conv) {
  (void)conv;
  return NULL;
}
void dnnl_conv_run(struct dnnl_conv *conv) {
  (void)conv;
}

#endif

void peers_set_environment(int lanes) {
  // Debian's OpenBLAS takes its slower AVX2 kernels on processors it does not know.
  if (lanes == 16) setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
  // Threads of the libraries wait for the next call of theirs for some 100 us, not for as long as we measure ourselves.
  setenv("GOMP_SPINCOUNT", "20000", 0);
  setenv("OPENBLAS_THREAD_TIMEOUT", "18", 0);
}
