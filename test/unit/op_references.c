// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Plain loops over the definitions in the ops' descriptions.
#include "test/unit/op_references.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS                                                                                                      \
  const struct anas_op *op, const struct anas_shape *result, bool training, const double *const *in,                   \
      const double *const *param, double *y
#define UNUSED ((void)op, (void)result, (void)training, (void)in, (void)param)

static const struct anas_attr *attr(const struct anas_op *op, const char *name) {
  int index = anas_op_attr_index(op->def, name);
  if (index < 0) abort(); // the reference and the op table disagree
  return &op->attr[index];
}

static bool is_choice(const struct anas_op *op, const char *name, const char *choice) {
  int index = anas_op_attr_index(op->def, name);
  return index >= 0 && !strcmp(op->def->attrs[index].choices[op->attr[index].value.i], choice);
}

// An activation as (batch, height, width, channels); one spatial dimension is the width.
struct image {
  int64_t n, extent[2], c;
};

static struct image image_of(const struct anas_shape *shape) {
  struct image image = {shape->dim[0], {1, 1}, shape->dim[shape->rank - 1]};
  for (int d = 0; d < shape->rank - 2; d++)
    image.extent[4 - shape->rank + d] = shape->dim[1 + d];
  return image;
}

static int64_t at(const struct image *image, int64_t n, int64_t h, int64_t w, int64_t c) {
  return ((n * image->extent[0] + h) * image->extent[1] + w) * image->c + c;
}

// The attribute for height and width; 1 where the tensor has no height.
static void pair(const struct anas_op *op, const char *name, int64_t *out) {
  const struct anas_ints *ints = &attr(op, name)->value.ints;
  int spatial = op->operand[0].rank - 2;
  out[0] = out[1] = 1;
  for (int d = 0; d < spatial; d++)
    out[2 - spatial + d] = ints->value[ints->count == 1 ? 0 : d];
}

static int64_t padding_before(const struct anas_op *op, int64_t in, int64_t out, int64_t reach, int64_t stride) {
  int64_t total = (out - 1) * stride + reach - in;
  return is_choice(op, "padding", "SAME") && total > 0 ? total / 2 : 0;
}

// ---- layers

static void conv(ARGUMENTS) {
  UNUSED;
  int64_t window[2], stride[2], dilation[2], pad[2], groups = attr(op, "groups")->value.dim.constant;
  struct image x = image_of(&op->operand[0]), out = image_of(result);
  pair(op, "kernel", window);
  pair(op, "strides", stride);
  pair(op, "dilation", dilation);
  for (int d = 0; d < 2; d++)
    pad[d] = padding_before(op, x.extent[d], out.extent[d], (window[d] - 1) * dilation[d] + 1, stride[d]);
  int64_t inputs = x.c / groups, outputs = out.c / groups;
  bool bias = attr(op, "use_bias")->value.b;
  for (int64_t n = 0; n < out.n; n++)
    for (int64_t oh = 0; oh < out.extent[0]; oh++)
      for (int64_t ow = 0; ow < out.extent[1]; ow++)
        for (int64_t f = 0; f < out.c; f++) {
          double sum = bias ? param[1][f] : 0;
          for (int64_t kh = 0; kh < window[0]; kh++)
            for (int64_t kw = 0; kw < window[1]; kw++) {
              int64_t h = oh * stride[0] - pad[0] + kh * dilation[0], w = ow * stride[1] - pad[1] + kw * dilation[1];
              if (h < 0 || h >= x.extent[0] || w < 0 || w >= x.extent[1]) continue;
              for (int64_t c = 0; c < inputs; c++)
                sum += in[0][at(&x, n, h, w, f / outputs * inputs + c)] *
                       param[0][((kh * window[1] + kw) * inputs + c) * out.c + f];
            }
          y[at(&out, n, oh, ow, f)] = sum;
        }
}

static void dense(ARGUMENTS) {
  UNUSED;
  int64_t features = result->dim[result->rank - 1], channels = op->operand[0].dim[result->rank - 1];
  int64_t rows = anas_shape_elements(result) / features;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t f = 0; f < features; f++) {
      double sum = attr(op, "use_bias")->value.b ? param[1][f] : 0;
      for (int64_t c = 0; c < channels; c++)
        sum += in[0][r * channels + c] * param[0][c * features + f];
      y[r * features + f] = sum;
    }
}

static void pool(const struct anas_op *op, const struct anas_shape *result, const double *x, bool maximum, double *y) {
  int64_t window[2], stride[2], pad[2];
  struct image image = image_of(&op->operand[0]), out = image_of(result);
  pair(op, "window", window);
  pair(op, "strides", stride);
  for (int d = 0; d < 2; d++) {
    if (!window[d]) window[d] = image.extent[d];
    pad[d] = padding_before(op, image.extent[d], out.extent[d], window[d], stride[d]);
  }
  for (int64_t n = 0; n < out.n; n++)
    for (int64_t oh = 0; oh < out.extent[0]; oh++)
      for (int64_t ow = 0; ow < out.extent[1]; ow++)
        for (int64_t c = 0; c < out.c; c++) {
          double sum = 0, largest = -INFINITY;
          for (int64_t kh = 0; kh < window[0]; kh++)
            for (int64_t kw = 0; kw < window[1]; kw++) {
              int64_t h = oh * stride[0] - pad[0] + kh, w = ow * stride[1] - pad[1] + kw;
              if (h < 0 || h >= image.extent[0] || w < 0 || w >= image.extent[1]) continue;
              double value = x[at(&image, n, h, w, c)];
              sum += value;
              if (value > largest) largest = value;
            }
          y[at(&out, n, oh, ow, c)] = maximum ? largest : sum / (double)(window[0] * window[1]);
        }
}

static void avg_pool(ARGUMENTS) {
  UNUSED;
  pool(op, result, in[0], false, y);
}

static void max_pool(ARGUMENTS) {
  UNUSED;
  pool(op, result, in[0], true, y);
}

static void batch_norm(ARGUMENTS) {
  UNUSED;
  int64_t channels = result->dim[result->rank - 1], rows = anas_shape_elements(result) / channels;
  double epsilon = attr(op, "epsilon")->value.f;
  for (int64_t c = 0; c < channels; c++) {
    double mean = param[2][c], variance = param[3][c];
    if (training) {
      mean = variance = 0;
      for (int64_t r = 0; r < rows; r++)
        mean += in[0][r * channels + c] / (double)rows;
      for (int64_t r = 0; r < rows; r++)
        variance += (in[0][r * channels + c] - mean) * (in[0][r * channels + c] - mean) / (double)rows;
    }
    for (int64_t r = 0; r < rows; r++)
      y[r * channels + c] = (in[0][r * channels + c] - mean) / sqrt(variance + epsilon) * param[0][c] + param[1][c];
  }
}

// size: channels of a group; one row: an example's positions (only one of them if by_position) times a group.
static void normalize(const struct anas_op *op, const struct anas_shape *result, const double *x, int64_t size,
                      bool by_position, const double *const *param, double *y) {
  int64_t channels = result->dim[result->rank - 1], positions = 1;
  for (int d = 1; d < result->rank - 1; d++)
    positions *= result->dim[d];
  int64_t examples = by_position ? result->dim[0] * positions : result->dim[0];
  if (by_position) positions = 1;
  double epsilon = attr(op, "epsilon")->value.f, count = (double)(positions * size);
  for (int64_t n = 0; n < examples; n++)
    for (int64_t c = 0; c < channels; c++) {
      double average = 0, variance = 0;
      const double *first = x + n * positions * channels;
      for (int64_t p = 0; p < positions; p++)
        for (int64_t k = c / size * size; k < c / size * size + size; k++)
          average += first[p * channels + k] / count;
      for (int64_t p = 0; p < positions; p++)
        for (int64_t k = c / size * size; k < c / size * size + size; k++)
          variance += (first[p * channels + k] - average) * (first[p * channels + k] - average) / count;
      for (int64_t p = 0; p < positions; p++)
        y[(n * positions + p) * channels + c] =
            (first[p * channels + c] - average) / sqrt(variance + epsilon) * param[0][c] + param[1][c];
    }
}

static void layer_norm(ARGUMENTS) {
  UNUSED;
  normalize(op, result, in[0], result->dim[result->rank - 1], true, param, y);
}

static void group_norm(ARGUMENTS) {
  UNUSED;
  const struct anas_attr *groups = attr(op, "num_groups"), *size = attr(op, "group_size");
  int64_t channels = result->dim[result->rank - 1];
  int64_t count = groups->present ? groups->value.dim.constant : 32;
  normalize(op, result, in[0], size->present ? size->value.dim.constant : channels / count, false, param, y);
}

static void softmax(ARGUMENTS) {
  UNUSED;
  int64_t axis = attr(op, "axis")->value.i, inner = 1;
  if (axis < 0) axis += result->rank;
  for (int i = (int)axis + 1; i < result->rank; i++)
    inner *= result->dim[i];
  int64_t extent = result->dim[axis], outer = anas_shape_elements(result) / extent / inner;
  for (int64_t o = 0; o < outer; o++)
    for (int64_t i = 0; i < inner; i++) {
      double sum = 0;
      for (int64_t k = 0; k < extent; k++)
        sum += exp(in[0][(o * extent + k) * inner + i]);
      for (int64_t k = 0; k < extent; k++)
        y[(o * extent + k) * inner + i] = exp(in[0][(o * extent + k) * inner + i]) / sum;
    }
}

static void mean(ARGUMENTS) {
  UNUSED;
  const struct anas_shape *x = &op->operand[0];
  const struct anas_ints *axes = &attr(op, "axes")->value.ints;
  bool reduced[ANAS_MAX_RANK] = {false};
  for (int i = 0; i < axes->count; i++)
    reduced[axes->value[i] < 0 ? axes->value[i] + x->rank : axes->value[i]] = true;
  int64_t count = anas_shape_elements(x), results = anas_shape_elements(result);
  memset(y, 0, (size_t)results * sizeof *y);
  for (int64_t i = 0; i < count; i++) {
    int64_t rest = i, position = 0, stride = 1;
    for (int d = x->rank - 1; d >= 0; d--) {
      if (!reduced[d]) {
        position += rest % x->dim[d] * stride;
        stride *= x->dim[d];
      }
      rest /= x->dim[d];
    }
    y[position] += in[0][i] * (double)results / (double)count;
  }
}

// ---- contractions

// A term of an equation with a character for every dimension: those of the ellipsis are digits, 7 for the last.
static void expand_term(const char *equation, int term, int rank, char *out) {
  for (; term; term--)
    equation = strpbrk(equation, ",>") + 1;
  int length = (int)strcspn(equation, ",-"), labels = 0, num = 0;
  for (int i = 0; i < length; i++)
    labels += equation[i] != ' ' && equation[i] != '.';
  for (int i = 0; i < length; i++) {
    if (equation[i] == '.' && i && equation[i - 1] == '.') continue;
    if (equation[i] == '.')
      for (int k = rank - labels; k > 0; k--)
        out[num++] = (char)('8' - k);
    else if (equation[i] != ' ')
      out[num++] = equation[i];
  }
  if (num != rank) abort();
}

// Loops over all labels as the digits of a number; y += a * b.
static void contract(const char *equation, const struct anas_shape *shapes, const double *const *in, double *y) {
  char term[3][ANAS_MAX_RANK], label[3 * ANAS_MAX_RANK];
  int64_t extent[3 * ANAS_MAX_RANK], iterations = 1;
  int labels = 0;
  for (int t = 0; t < 3; t++) {
    expand_term(equation, t, shapes[t].rank, term[t]);
    for (int d = 0; d < shapes[t].rank; d++) {
      int l = 0;
      while (l < labels && label[l] != term[t][d])
        l++;
      if (l == labels) {
        label[labels] = term[t][d];
        extent[labels++] = 1;
      }
      if (shapes[t].dim[d] > extent[l]) extent[l] = shapes[t].dim[d];
    }
  }
  for (int l = 0; l < labels; l++)
    iterations *= extent[l];
  memset(y, 0, (size_t)anas_shape_elements(&shapes[2]) * sizeof *y);
  for (int64_t i = 0; i < iterations; i++) {
    int64_t at[3] = {0}, rest = i, digit[3 * ANAS_MAX_RANK];
    for (int l = 0; l < labels; l++) {
      digit[l] = rest % extent[l];
      rest /= extent[l];
    }
    for (int t = 0; t < 3; t++)
      for (int d = 0; d < shapes[t].rank; d++) {
        int l = 0;
        while (label[l] != term[t][d])
          l++;
        at[t] = at[t] * shapes[t].dim[d] + (shapes[t].dim[d] == 1 ? 0 : digit[l]);
      }
    y[at[2]] += in[0][at[0]] * in[1][at[1]];
  }
}

static void einsum(ARGUMENTS) {
  UNUSED;
  struct anas_shape shapes[] = {op->operand[0], op->operand[1], *result};
  contract(attr(op, "equation")->value.text, shapes, in, y);
}

// Position of d in a list of dimension numbers of a tensor, -1 if it is not there.
static int position_in(const struct anas_op *op, const char *list, int rank, int d) {
  const struct anas_attr *a = attr(op, list);
  for (int i = 0; a->present && i < a->value.ints.count; i++)
    if ((a->value.ints.value[i] + rank) % rank == d) return i;
  return -1;
}

static void dot_general(ARGUMENTS) {
  UNUSED;
  static const char *const sum[] = {"lhs_contracting", "rhs_contracting"}, *const batch[] = {"lhs_batch", "rhs_batch"};
  struct anas_shape shapes[] = {op->operand[0], op->operand[1], *result};
  char equation[64] = "", out[16] = "", letters[] = "x", next[2] = {'A', 'N'};
  for (int k = 0; k < 2; k++) {
    for (int d = 0; d < shapes[k].rank; d++) {
      int s = position_in(op, sum[k], shapes[k].rank, d), b = position_in(op, batch[k], shapes[k].rank, d);
      letters[0] = s >= 0 ? (char)('s' + s) : b >= 0 ? (char)('b' + b) : next[k]++;
      strcat(equation, letters);
      if (b >= 0 && !k) memmove(out + b + 1, out + b, strlen(out + b) + 1), out[b] = letters[0];
      if (s < 0 && b < 0) strcat(out, letters);
    }
    strcat(equation, k ? "->" : ",");
  }
  contract(strcat(equation, out), shapes, in, y);
}

// One result element after the other: for each, all positions of the contracted dimensions.
static void dense_general(ARGUMENTS) {
  UNUSED;
  const struct anas_shape *x = &op->operand[0];
  const struct anas_ints *axes = &attr(op, "axis")->value.ints;
  int features = attr(op, "features")->value.ints.count, kept = result->rank - features;
  int64_t outputs = 1, inputs = 1;
  for (int d = kept; d < result->rank; d++)
    outputs *= result->dim[d];
  for (int i = 0; i < axes->count; i++)
    inputs *= x->dim[(axes->value[i] + x->rank) % x->rank];
  for (int64_t e = 0; e < anas_shape_elements(result); e++) {
    int64_t position[ANAS_MAX_RANK] = {0}, rest = e / outputs, block = 0, feature = e % outputs;
    for (int d = x->rank - 1; d >= 0; d--) {
      if (position_in(op, "axis", x->rank, d) >= 0) continue;
      position[d] = rest % x->dim[d];
      rest /= x->dim[d];
    }
    for (int d = 0; d < x->rank; d++)
      if (position_in(op, "batch_dims", x->rank, d) >= 0) block = block * x->dim[d] + position[d];
    double sum = attr(op, "use_bias")->value.b ? param[1][block * outputs + feature] : 0;
    for (int64_t i = 0; i < inputs; i++) {
      int64_t at = 0, left = i;
      for (int k = axes->count - 1; k >= 0; k--) {
        int d = (int)((axes->value[k] + x->rank) % x->rank);
        position[d] = left % x->dim[d];
        left /= x->dim[d];
      }
      for (int d = 0; d < x->rank; d++)
        at = at * x->dim[d] + position[d];
      sum += in[0][at] * param[0][(block * inputs + i) * outputs + feature];
    }
    y[e] = sum;
  }
}

// Parameters in pairs of kernel and bias, or kernels alone: query, key, value, out. One query after the other.
static void self_attention(ARGUMENTS) {
  UNUSED;
  const struct anas_shape *x = &op->operand[0];
  bool biased = attr(op, "use_bias")->value.b;
  int64_t heads = attr(op, "num_heads")->value.dim.constant, c = x->dim[x->rank - 1];
  int64_t inner = attr(op, "qkv_features")->value.dim.constant, d = inner / heads, f = result->dim[result->rank - 1];
  int64_t tokens = anas_shape_elements(x) / x->dim[0] / c;
  double *projected[3], *weight = calloc((size_t)tokens, sizeof *weight),
                        *attended = calloc((size_t)inner, sizeof *attended);
  for (int p = 0; p < 3; p++) {
    projected[p] = calloc((size_t)(tokens * inner), sizeof(double));
    if (!projected[p]) abort();
  }
  if (!weight || !attended) abort();
  for (int64_t n = 0; n < x->dim[0]; n++) {
    for (int p = 0; p < 3; p++)
      for (int64_t t = 0; t < tokens; t++)
        for (int64_t i = 0; i < inner; i++) {
          double sum = biased ? param[2 * p + 1][i] : 0;
          for (int64_t k = 0; k < c; k++)
            sum += in[0][(n * tokens + t) * c + k] * param[biased ? 2 * p : p][k * inner + i];
          projected[p][t * inner + i] = sum;
        }
    for (int64_t q = 0; q < tokens; q++) {
      for (int64_t h = 0; h < heads; h++) {
        double total = 0;
        for (int64_t k = 0; k < tokens; k++) {
          double score = 0;
          for (int64_t i = h * d; i < (h + 1) * d; i++)
            score += projected[0][q * inner + i] * projected[1][k * inner + i];
          total += weight[k] = exp(score / sqrt((double)d));
        }
        for (int64_t i = h * d; i < (h + 1) * d; i++) {
          attended[i] = 0;
          for (int64_t k = 0; k < tokens; k++)
            attended[i] += weight[k] / total * projected[2][k * inner + i];
        }
      }
      for (int64_t o = 0; o < f; o++) {
        double sum = biased ? param[7][o] : 0;
        for (int64_t i = 0; i < inner; i++)
          sum += attended[i] * param[biased ? 6 : 3][i * f + o];
        y[(n * tokens + q) * f + o] = sum;
      }
    }
  }
  for (int p = 0; p < 3; p++)
    free(projected[p]);
  free(weight);
  free(attended);
}

// ---- elementwise

// Element of an operand that numpy broadcasting pairs with element i of the result.
static double broadcast(const struct anas_shape *operand, const double *x, const struct anas_shape *result, int64_t i) {
  int64_t position = 0, stride = 1;
  for (int d = result->rank - 1, o = operand->rank - 1; d >= 0; d--, o--) {
    if (o >= 0 && operand->dim[o] != 1) position += i % result->dim[d] * stride;
    if (o >= 0) stride *= operand->dim[o];
    i /= result->dim[d];
  }
  return x[position];
}

#define ELEMENTWISE(name, expression)                                                                                  \
  static void name(ARGUMENTS) {                                                                                        \
    UNUSED;                                                                                                            \
    for (int64_t i = 0; i < anas_shape_elements(result); i++) {                                                        \
      double x = broadcast(&op->operand[0], in[0], result, i);                                                         \
      double z = op->num_operands > 1 ? broadcast(&op->operand[1], in[1], result, i) : 0;                              \
      (void)z;                                                                                                         \
      y[i] = (expression);                                                                                             \
    }                                                                                                                  \
  }

ELEMENTWISE(identity, x)
ELEMENTWISE(add, x + z)
ELEMENTWISE(scalar_add, x + attr(op, "constant")->value.f)
ELEMENTWISE(mul, x *z)
ELEMENTWISE(relu, x > 0 ? x : 0)
ELEMENTWISE(sigmoid, 1 / (1 + exp(-x)))
ELEMENTWISE(swish, x / (1 + exp(-x)))
ELEMENTWISE(gelu, x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x))))

static void scalar_mul(ARGUMENTS) {
  UNUSED;
  const struct anas_attr *constant = attr(op, "constant");
  double factor = constant->present ? constant->value.f : 1 / sqrt((double)result->dim[result->rank - 1]);
  for (int64_t i = 0; i < anas_shape_elements(result); i++)
    y[i] = in[0][i] * factor;
}

// The same elements in the same order: flatten, reshape.
static void view(ARGUMENTS) {
  UNUSED;
  memcpy(y, in[0], (size_t)anas_shape_elements(result) * sizeof *y);
}

static void param_value(ARGUMENTS) {
  UNUSED;
  memcpy(y, param[0], (size_t)anas_shape_elements(result) * sizeof *y);
}

static void transpose(ARGUMENTS) {
  UNUSED;
  const struct anas_shape *x = &op->operand[0];
  const struct anas_ints *axes = &attr(op, "axes")->value.ints;
  for (int64_t i = 0; i < anas_shape_elements(result); i++) {
    int64_t rest = i, digit[ANAS_MAX_RANK] = {0}, position = 0;
    for (int d = result->rank - 1; d >= 0; d--) {
      digit[axes->value[d] < 0 ? axes->value[d] + x->rank : axes->value[d]] = rest % result->dim[d];
      rest /= result->dim[d];
    }
    for (int d = 0; d < x->rank; d++)
      position = position * x->dim[d] + digit[d];
    y[i] = in[0][position];
  }
}

op_reference op_reference_find(const char *name) {
  if (&op_reference_extra_name && !strcmp(op_reference_extra_name, name)) return op_reference_extra;
  static const struct {
    const char *name;
    op_reference reference;
  } references[] = {
      {"conv", conv},
      {"dense", dense},
      {"avg_pool", avg_pool},
      {"max_pool", max_pool},
      {"mean", mean},
      {"softmax", softmax},
      {"identity", identity},
      {"batch_norm", batch_norm},
      {"add", add},
      {"mul", mul},
      {"relu", relu},
      {"sigmoid", sigmoid},
      {"swish", swish},
      {"gelu", gelu},
      {"flatten", view},
      {"reshape", view},
      {"transpose", transpose},
      {"param", param_value},
      {"scalar_mul", scalar_mul},
      {"scalar_add", scalar_add},
      {"none", identity},
      {"stoch_depth", identity},
      {"dropout", identity},
      {"layer_norm", layer_norm},
      {"group_norm", group_norm},
      {"einsum", einsum},
      {"dot_general", dot_general},
      {"self_attention", self_attention},
      {"dense_general", dense_general},

  };
  for (size_t i = 0; i < sizeof references / sizeof *references; i++)
    if (!strcmp(references[i].name, name)) return references[i].reference;
  return NULL;
}
