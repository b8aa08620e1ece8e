// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Convolution, dense and bias training ops against their defining sums, over many shapes. Nests are interpreted in
// double precision, so the results agree to rounding and every misplaced element shows.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "test/unit/nest_interpreter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1e-12

struct config {
  int spatial;
  int64_t batch, extent[2], window[2], stride[2], dilation[2], channels, features, groups;
  bool valid;
};

static double *random_values(int64_t count, uint64_t seed) {
  double *values = anas_calloc((size_t)count, sizeof *values);
  for (int64_t i = 0; i < count; i++) {
    uint64_t z = (seed + (uint64_t)i) * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 29)) * UINT64_C(0xBF58476D1CE4E5B9);
    values[i] = (double)(z >> 11) / (double)(UINT64_C(1) << 52) - 1;
  }
  return values;
}

// ---- running one training op

static const double *run_op(const struct anas_op *op, const double *const *values, double *result, int64_t count) {
  struct anas_lowering *l = anas_lowering_create();
  int operands[ANAS_MAX_OPERANDS], out[ANAS_MAX_RESULTS];
  for (int i = 0; i < op->num_operands; i++)
    operands[i] = anas_lowering_buffer(l, &op->operand[i]);
  if (anas_lowering_run(l, op, operands, out) != ANAS_OK) fail_msg("%s", anas_error_message());
  assert_int_equal(anas_shape_elements(anas_lower_shape(l, out[0])), count);
  struct nest_memory memory;
  nest_memory_init(&memory, l);
  for (int i = 0; i < op->num_operands; i++) {
    union nest_cell *data = nest_memory_buffer(&memory, operands[i]);
    for (int64_t k = 0; k < anas_shape_elements(&op->operand[i]); k++)
      data[k].f = values[i][k];
  }
  if (nest_interpret_from(&memory, 0) != ANAS_OK) fail_msg("%s", anas_error_message());
  for (int64_t k = 0; k < count; k++)
    result[k] = nest_memory_buffer(&memory, out[0])[k].f;
  for (int i = 0; i < l->num_nests; i++) { // every nest has a kernel function
    struct anas_kernel_function kernel;
    if (anas_kernel_function_print(l, l->nests[i], &kernel) != ANAS_OK) fail_msg("%s", anas_error_message());
    anas_kernel_function_deinit(&kernel);
  }
  nest_memory_deinit(&memory);
  anas_lowering_destroy(l);
  return result;
}

static struct anas_op op_named(const char *name) {
  struct anas_op op = {.def = anas_op_find(name, strlen(name))};
  assert_non_null(op.def);
  for (int i = 0; i < op.def->num_attrs; i++)
    op.attr[i] = op.def->attrs[i].fallback;
  return op;
}

static struct anas_attr *attr_of(struct anas_op *op, const char *name) {
  int index = anas_op_attr_index(op->def, name);
  assert_true(index >= 0);
  op->attr[index].present = true;
  return &op->attr[index];
}

static void set_ints(struct anas_op *op, const char *name, const int64_t *values, int count) {
  struct anas_ints ints = {.count = count};
  memcpy(ints.value, values, (size_t)count * sizeof *values);
  attr_of(op, name)->value.ints = ints;
}

static void compare(const char *what, const struct config *c, const double *have, const double *want, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    if (!(fabs(have[i] - want[i]) <= TOLERANCE * fmax(1, fabs(want[i]))))
      fail_msg("%s: element %lld is %.17g, not %.17g; batch %lld extents %lldx%lld window %lldx%lld stride %lldx%lld "
               "dilation %lldx%lld channels %lld features %lld groups %lld %s, %d spatial dimensions",
               what, (long long)i, have[i], want[i], (long long)c->batch, (long long)c->extent[0],
               (long long)c->extent[1], (long long)c->window[0], (long long)c->window[1], (long long)c->stride[0],
               (long long)c->stride[1], (long long)c->dilation[0], (long long)c->dilation[1], (long long)c->channels,
               (long long)c->features, (long long)c->groups, c->valid ? "VALID" : "SAME", c->spatial);
}

// ---- convolution by definition

struct reference {
  int64_t out[2], pad[2], x_count, k_count, y_count;
  double *x, *k, *y, *dx, *dk, *dy, *bias;
};

static bool extents(const struct config *c, struct reference *r) {
  for (int d = 0; d < 2; d++) {
    int64_t reach = (c->window[d] - 1) * c->dilation[d] + 1;
    if (c->valid) {
      if (reach > c->extent[d]) return false;
      r->out[d] = (c->extent[d] - reach) / c->stride[d] + 1;
      r->pad[d] = 0;
    } else {
      r->out[d] = (c->extent[d] + c->stride[d] - 1) / c->stride[d];
      int64_t total = (r->out[d] - 1) * c->stride[d] + reach - c->extent[d];
      r->pad[d] = total > 0 ? total / 2 : 0;
    }
  }
  return true;
}

// y = conv(x, k), and the gradients of sum(y * dy), element by element.
static void reference_conv(const struct config *c, struct reference *r) {
  int64_t inputs = c->channels / c->groups, outputs = c->features / c->groups;
  for (int64_t n = 0; n < c->batch; n++)
    for (int64_t oh = 0; oh < r->out[0]; oh++)
      for (int64_t ow = 0; ow < r->out[1]; ow++)
        for (int64_t kh = 0; kh < c->window[0]; kh++)
          for (int64_t kw = 0; kw < c->window[1]; kw++) {
            int64_t h = oh * c->stride[0] - r->pad[0] + kh * c->dilation[0];
            int64_t w = ow * c->stride[1] - r->pad[1] + kw * c->dilation[1];
            if (h < 0 || h >= c->extent[0] || w < 0 || w >= c->extent[1]) continue;
            for (int64_t f = 0; f < c->features; f++)
              for (int64_t i = 0; i < inputs; i++) {
                int64_t x = ((n * c->extent[0] + h) * c->extent[1] + w) * c->channels + f / outputs * inputs + i;
                int64_t k = ((kh * c->window[1] + kw) * inputs + i) * c->features + f;
                int64_t y = ((n * r->out[0] + oh) * r->out[1] + ow) * c->features + f;
                r->y[y] += r->x[x] * r->k[k];
                r->dx[x] += r->dy[y] * r->k[k];
                r->dk[k] += r->dy[y] * r->x[x];
              }
          }
}

static struct anas_shape activation(const struct config *c, const int64_t *extent, int64_t channels) {
  struct anas_shape shape = {.rank = c->spatial + 2, .element = ANAS_F32, .dim = {c->batch}};
  for (int d = 0; d < c->spatial; d++)
    shape.dim[1 + d] = extent[2 - c->spatial + d];
  shape.dim[c->spatial + 1] = channels;
  return shape;
}

static void set_geometry(struct anas_op *op, const struct config *c) {
  set_ints(op, "strides", c->stride + 2 - c->spatial, c->spatial);
  set_ints(op, "dilation", c->dilation + 2 - c->spatial, c->spatial);
  attr_of(op, "padding")->value.i = c->valid;
  attr_of(op, "groups")->value.i = c->groups;
}

// Forward with and without bias, both gradients. False if the configuration has no output.
static bool check_conv(const struct config *c) {
  struct reference r = {0};
  if (!extents(c, &r)) return false;
  struct anas_shape x = activation(c, c->extent, c->channels), y = activation(c, r.out, c->features), k = x;
  for (int d = 0; d < c->spatial; d++)
    k.dim[d] = c->window[2 - c->spatial + d];
  k.dim[c->spatial] = c->channels / c->groups;
  k.dim[c->spatial + 1] = c->features;
  r.x_count = anas_shape_elements(&x);
  r.k_count = anas_shape_elements(&k);
  r.y_count = anas_shape_elements(&y);
  r.x = random_values(r.x_count, 1);
  r.k = random_values(r.k_count, 1000003);
  r.dy = random_values(r.y_count, 2000003);
  r.bias = random_values(c->features, 3000017);
  r.y = anas_calloc((size_t)r.y_count, sizeof(double));
  r.dx = anas_calloc((size_t)r.x_count, sizeof(double));
  r.dk = anas_calloc((size_t)r.k_count, sizeof(double));
  reference_conv(c, &r);
  int64_t largest = r.x_count > r.k_count ? r.x_count : r.k_count;
  double *result = anas_calloc((size_t)(largest > r.y_count ? largest : r.y_count), sizeof(double));

  struct anas_op fwd = op_named("conv_fwd");
  fwd.num_operands = 2;
  fwd.operand[0] = x;
  fwd.operand[1] = k;
  set_geometry(&fwd, c);
  compare("conv_fwd", c, run_op(&fwd, (const double *[]){r.x, r.k}, result, r.y_count), r.y, r.y_count);
  fwd.num_operands = 3;
  fwd.operand[2] = (struct anas_shape){.rank = 1, .element = ANAS_F32, .dim = {c->features}};
  for (int64_t i = 0; i < r.y_count; i++)
    r.y[i] += r.bias[i % c->features];
  compare("conv_fwd with bias", c, run_op(&fwd, (const double *[]){r.x, r.k, r.bias}, result, r.y_count), r.y,
          r.y_count);

  struct anas_op data = op_named("conv_bwd_data");
  data.num_operands = 2;
  data.operand[0] = y;
  data.operand[1] = k;
  set_geometry(&data, c);
  set_ints(&data, "input", c->extent + 2 - c->spatial, c->spatial);
  compare("conv_bwd_data", c, run_op(&data, (const double *[]){r.dy, r.k}, result, r.x_count), r.dx, r.x_count);

  struct anas_op filter = op_named("conv_bwd_filter");
  filter.num_operands = 2;
  filter.operand[0] = x;
  filter.operand[1] = y;
  set_geometry(&filter, c);
  set_ints(&filter, "kernel", c->window + 2 - c->spatial, c->spatial);
  compare("conv_bwd_filter", c, run_op(&filter, (const double *[]){r.x, r.dy}, result, r.k_count), r.dk, r.k_count);

  double *owned[] = {r.x, r.k, r.y, r.dx, r.dk, r.dy, r.bias, result};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
    free(owned[i]);
  return true;
}

// ---- sweeps

static void every_geometry(void **state) {
  (void)state;
  static const int64_t windows[] = {1, 2, 3, 5};
  int checked = 0;
  for (int w = 0; w < 4; w++)
    for (int64_t stride = 1; stride <= 3; stride++)
      for (int64_t dilation = 1; dilation <= 2; dilation++)
        for (int valid = 0; valid < 2; valid++)
          for (int64_t extent = 1; extent <= 9; extent++) {
            // The other dimension takes other values, so that mixed-up dimensions show.
            struct config c = {.spatial = 2,
                               .batch = 2,
                               .extent = {extent, 10 - extent},
                               .window = {windows[w], windows[(w + extent) % 4]},
                               .stride = {stride, 1 + (stride + extent) % 3},
                               .dilation = {dilation, 3 - dilation},
                               .channels = 3,
                               .features = 2,
                               .groups = 1,
                               .valid = valid};
            checked += check_conv(&c);
            c.dilation[1] = dilation;
            c.groups = c.features = c.channels = 2;
            checked += check_conv(&c);
          }
  assert_true(checked > 600);
}

static void every_channel_count(void **state) {
  (void)state;
  static const int64_t counts[] = {3, 13, 16, 29, 33, 40, 64};
  for (int i = 0; i < 7; i++)
    for (int o = 0; o < 7; o++)
      for (int64_t window = 1; window <= 3; window += 2) {
        struct config c = {.spatial = 2,
                           .batch = 1,
                           .extent = {4, 3},
                           .window = {window, window},
                           .stride = {1 + (i + o) % 2, 1 + (i + o) % 2},
                           .dilation = {1, 1},
                           .channels = counts[i],
                           .features = counts[o],
                           .groups = 1,
                           .valid = (i + o) % 3 == 0};
        assert_true(check_conv(&c));
      }
}

static void every_kind_of_groups(void **state) {
  (void)state;
  static const int64_t cases[][3] = {// channels, features, groups
                                     {2, 2, 2},   {6, 6, 6},   {5, 15, 5},  {8, 4, 2},    {16, 16, 2},  {16, 32, 16},
                                     {18, 20, 2}, {26, 80, 2}, {66, 58, 2}, {48, 27, 3},  {99, 120, 3}, {64, 64, 64},
                                     {1, 7, 1},   {40, 40, 5}, {64, 80, 8}, {13, 13, 13}, {29, 58, 29}, {32, 16, 16}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int64_t window = 1; window <= 5; window += 2)
      for (int64_t stride = 1; stride <= 2; stride++) {
        struct config c = {.spatial = 2,
                           .batch = 2,
                           .extent = {5, 4},
                           .window = {window, 3},
                           .stride = {stride, 3 - stride},
                           .dilation = {1, 1 + (int64_t)i % 2},
                           .channels = cases[i][0],
                           .features = cases[i][1],
                           .groups = cases[i][2]};
        assert_true(check_conv(&c));
      }
}

static void one_spatial_dimension(void **state) {
  (void)state;
  for (int64_t window = 1; window <= 5; window++)
    for (int64_t stride = 1; stride <= 3; stride++)
      for (int64_t groups = 1; groups <= 6; groups *= 6) {
        struct config c = {.spatial = 1,
                           .batch = 3,
                           .extent = {1, 7},
                           .window = {1, window},
                           .stride = {1, stride},
                           .dilation = {1, 1 + window % 2},
                           .channels = 18,
                           .features = 36,
                           .groups = groups};
        assert_true(check_conv(&c));
      }
}

// Patches: windows next to each other, or with gaps; each input position belongs to at most one.
static void disjoint_windows(void **state) {
  (void)state;
  for (int64_t window = 2; window <= 4; window++)
    for (int64_t gap = 0; gap <= 1; gap++)
      for (int64_t rest = 0; rest <= 2; rest++) {
        struct config c = {.spatial = 2,
                           .batch = 2,
                           .extent = {2 * (window + gap) + rest, window + gap},
                           .window = {window, window},
                           .stride = {window + gap, window + gap},
                           .dilation = {1, 1},
                           .channels = 19,
                           .features = 35,
                           .groups = 1,
                           .valid = true};
        assert_true(check_conv(&c));
      }
}

// ---- dense and bias

static void dense_shapes(void **state) {
  (void)state;
  static const int64_t counts[] = {1, 3, 16, 33, 64};
  for (int i = 0; i < 5; i++)
    for (int o = 0; o < 5; o++)
      for (int rank = 2; rank <= 4; rank++) {
        int64_t channels = counts[i], features = counts[o], rows = 1;
        struct anas_shape x = {.rank = rank, .element = ANAS_F32, .dim = {3, 2, 4}}, y;
        if (rank == 2 && i >= o) x.dim[0] = 130; // enough rows for a packed kernel
        for (int d = 0; d < rank - 1; d++)
          rows *= x.dim[d];
        x.dim[rank - 1] = channels;
        y = x;
        y.dim[rank - 1] = features;
        struct anas_shape kernel = {.rank = 2, .element = ANAS_F32, .dim = {channels, features}};
        struct anas_shape bias = {.rank = 1, .element = ANAS_F32, .dim = {features}};
        double *xs = random_values(rows * channels, 11), *ks = random_values(channels * features, 13);
        double *dys = random_values(rows * features, 17), *bs = random_values(features, 19);
        double *ys = anas_calloc((size_t)(rows * features), sizeof *ys);
        double *dxs = anas_calloc((size_t)(rows * channels), sizeof *dxs);
        double *dks = anas_calloc((size_t)(channels * features), sizeof *dks);
        double *dbs = anas_calloc((size_t)features, sizeof *dbs);
        double *result = anas_calloc(130 * 64, sizeof *result);
        for (int64_t r = 0; r < rows; r++)
          for (int64_t f = 0; f < features; f++) {
            ys[r * features + f] = bs[f];
            dbs[f] += dys[r * features + f];
            for (int64_t c = 0; c < channels; c++) {
              ys[r * features + f] += xs[r * channels + c] * ks[c * features + f];
              dxs[r * channels + c] += dys[r * features + f] * ks[c * features + f];
              dks[c * features + f] += dys[r * features + f] * xs[r * channels + c];
            }
          }
        struct config c = {.spatial = rank, .batch = rows, .channels = channels, .features = features};
        struct anas_op op = op_named("dense_fwd");
        op.num_operands = 3;
        op.operand[0] = x, op.operand[1] = kernel, op.operand[2] = bias;
        compare("dense_fwd", &c, run_op(&op, (const double *[]){xs, ks, bs}, result, rows * features), ys,
                rows * features);
        op = op_named("dense_bwd_data");
        op.num_operands = 2;
        op.operand[0] = y, op.operand[1] = kernel;
        compare("dense_bwd_data", &c, run_op(&op, (const double *[]){dys, ks}, result, rows * channels), dxs,
                rows * channels);
        op = op_named("dense_bwd_filter");
        op.num_operands = 2;
        op.operand[0] = x, op.operand[1] = y;
        compare("dense_bwd_filter", &c, run_op(&op, (const double *[]){xs, dys}, result, channels * features), dks,
                channels * features);
        op = op_named("bias_bwd");
        op.num_operands = 1;
        op.operand[0] = y;
        compare("bias_bwd", &c, run_op(&op, (const double *[]){dys}, result, features), dbs, features);
        double *owned[] = {xs, ks, dys, bs, ys, dxs, dks, dbs, result};
        for (size_t k = 0; k < sizeof owned / sizeof *owned; k++)
          free(owned[k]);
      }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_geometry),       cmocka_unit_test(every_channel_count),
      cmocka_unit_test(every_kind_of_groups), cmocka_unit_test(one_spatial_dimension),
      cmocka_unit_test(disjoint_windows),     cmocka_unit_test(dense_shapes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
