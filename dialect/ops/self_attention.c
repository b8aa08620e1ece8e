// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Multi-head self-attention (Vaswani et al., 2017) over the positions of the operand, as training ops that exist apart:
// contractions, softmax, dropout.
#include "dialect/op_support.h"
#include "dialect/ops/contract.h"
#include "dialect/ops/contraction.h"
#include "dialect/ops/dropout.h"

#include <math.h>

enum { NUM_HEADS, QKV_FEATURES, OUT_FEATURES, RATE, USE_BIAS, KERNEL_INIT, BIAS_INIT, NUM_ATTRS };

#define SAME_FEATURES                                                                                                  \
  {                                                                                                                    \
    .present = true, .value.dim = {.relative = true, .axis = -1, .div = 1, .mul = 1 }                                  \
  }

static const struct anas_attr_def attention_attrs[NUM_ATTRS] = {
    [NUM_HEADS] = {.name = "num_heads",
                   .kind = ANAS_ATTR_DIM,
                   .required = true,
                   .doc = "how many attentions run side by side; divides qkv_features"},
    [QKV_FEATURES] = {.name = "qkv_features",
                      .kind = ANAS_ATTR_DIM,
                      .fallback = SAME_FEATURES,
                      .doc = "features of queries, keys and values, all heads together"},
    [OUT_FEATURES] = {.name = "out_features",
                      .kind = ANAS_ATTR_DIM,
                      .fallback = SAME_FEATURES,
                      .doc = "extent of the result's last dimension"},
    [RATE] = {.name = "rate",
              .kind = ANAS_ATTR_FLOAT,
              .fallback = ANAS_FLOAT(0),
              .doc = "probability that training drops an attention weight"},
    [USE_BIAS] = ANAS_USE_BIAS_ATTR("queries, keys, values and result"),
    [KERNEL_INIT] = ANAS_KERNEL_INIT_ATTR("four kernels"),
    [BIAS_INIT] = ANAS_BIAS_INIT_ATTR("four biases"),
};

struct sizes {
  int64_t tokens, channels, heads, head_dim, out;
};

static struct sizes sizes_of(const struct anas_op *op) {
  const struct anas_shape *x = &op->operand[0];
  struct sizes sizes = {.tokens = 1,
                        .channels = x->dim[x->rank - 1],
                        .heads = op->attr[NUM_HEADS].value.dim.constant,
                        .out = op->attr[OUT_FEATURES].value.dim.constant};
  for (int d = 1; d < x->rank - 1; d++)
    sizes.tokens *= x->dim[d];
  sizes.head_dim = op->attr[QKV_FEATURES].value.dim.constant / sizes.heads;
  return sizes;
}

static anas_status attention_shape(const struct anas_op *op, struct anas_shape *out) {
  const struct anas_shape *x = &op->operand[0];
  char text[128];
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 2));
  if (x->rank < 3)
    return anas_fail(ANAS_INVALID, "'anas.%s' needs (batch, positions..., features), got tensor<%s>", op->def->name,
                     anas_shape_text(x, text));
  int64_t heads = op->attr[NUM_HEADS].value.dim.constant, qkv = op->attr[QKV_FEATURES].value.dim.constant;
  int64_t features = op->attr[OUT_FEATURES].value.dim.constant;
  if (qkv < 1 || qkv > ANAS_MAX_FEATURES || features < 1 || features > ANAS_MAX_FEATURES)
    return anas_fail(ANAS_INVALID,
                     "'qkv_features' and 'out_features' of 'anas.%s' must be between 1 and %d, got %lld "
                     "and %lld",
                     op->def->name, ANAS_MAX_FEATURES, (long long)qkv, (long long)features);
  if (heads < 1 || qkv % heads)
    return anas_fail(ANAS_INVALID, "'num_heads' of 'anas.%s', %lld, must divide 'qkv_features', %lld", op->def->name,
                     (long long)heads, (long long)qkv);
  if (!(op->attr[RATE].value.f >= 0 && op->attr[RATE].value.f < 1))
    return anas_fail(ANAS_INVALID, "attribute 'rate' of 'anas.%s' must lie in [0, 1), got %g", op->def->name,
                     op->attr[RATE].value.f);
  int64_t tokens = sizes_of(op).tokens;
  struct anas_shape weights = {.rank = 4, .element = ANAS_F32, .dim = {x->dim[0], heads, tokens, tokens}};
  struct anas_shape queries = {.rank = 3, .element = ANAS_F32, .dim = {x->dim[0], tokens, qkv}};
  anas_status status = anas_shape_check(&queries, false);
  if (status) return anas_fail_context(status, "queries of 'anas.%s': ", op->def->name);
  status = anas_shape_check(&weights, false);
  if (status) return anas_fail_context(status, "attention weights of 'anas.%s': ", op->def->name);
  out[0] = *x;
  out[0].dim[x->rank - 1] = features;
  return ANAS_OK;
}

static void attention_deps(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_dep *out) {
  (void)which;
  (void)op;
  out[0] = anas_dep_same(0);
  for (int d = 1; d < result->rank; d++)
    out[d] = (struct anas_dep){.kind = ANAS_DEP_ALL, .out_dim = d};
}

// ---- parameters: a kernel and a bias each for query, key, value and out

enum { QUERY, KEY, VALUE, OUT, NUM_PROJECTIONS };

static int attention_params(const struct anas_op *op, struct anas_param *out) {
  static const char *const names[NUM_PROJECTIONS][2] = {{"query/kernel", "query/bias"},
                                                        {"key/kernel", "key/bias"},
                                                        {"value/kernel", "value/bias"},
                                                        {"out/kernel", "out/bias"}};
  struct sizes s = sizes_of(op);
  int64_t inner = s.heads * s.head_dim;
  int count = 0;
  for (int p = 0; p < NUM_PROJECTIONS; p++) {
    struct anas_param param = {.fan_in = p == OUT ? inner : s.channels, .fan_out = p == OUT ? s.out : inner};
    param.name = names[p][0];
    param.init = op->attr[KERNEL_INIT].value.init;
    param.shape = p == OUT
                      ? (struct anas_shape){.rank = 3, .element = ANAS_F32, .dim = {s.heads, s.head_dim, s.out}}
                      : (struct anas_shape){.rank = 3, .element = ANAS_F32, .dim = {s.channels, s.heads, s.head_dim}};
    out[count++] = param;
    if (!op->attr[USE_BIAS].value.b) continue;
    param.name = names[p][1];
    param.init = op->attr[BIAS_INIT].value.init;
    param.shape = p == OUT ? (struct anas_shape){.rank = 1, .element = ANAS_F32, .dim = {s.out}}
                           : (struct anas_shape){.rank = 2, .element = ANAS_F32, .dim = {s.heads, s.head_dim}};
    out[count++] = param;
  }
  return count;
}

static MlirValue kernel_of(const struct anas_train_op *op, int projection) {
  return op->param[op->op->attr[USE_BIAS].value.b ? 2 * projection : projection];
}

static MlirValue bias_of(const struct anas_train_op *op, int projection) {
  return op->op->attr[USE_BIAS].value.b ? op->param[2 * projection + 1] : (MlirValue){0};
}

static void attention_cost(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  struct sizes s = sizes_of(op);
  int64_t inner = s.heads * s.head_dim, weights = s.heads * s.tokens * s.tokens;
  (void)result;
  out->macs = s.tokens * inner * (3 * s.channels + s.out) + 2 * weights * s.head_dim;
  // Bias, scaling of the queries, and four operations for every weight of the softmax.
  out->flops = 2 * out->macs + s.tokens * inner + 4 * weights;
  if (op->attr[USE_BIAS].value.b) out->flops += s.tokens * (3 * inner + s.out);
}

// ---- forward and backward; letters: b batch, t q k positions, h heads, d features of a head, c and f features

enum { X, SCALED_QUERY, KEYS, VALUES, WEIGHTS, DROPPED, ATTENDED };

static anas_status emit_scale(struct anas_train *train, const struct anas_train_op *op, MlirValue x, MlirValue *out) {
  struct anas_attr attrs[] = {ANAS_FLOAT(1 / sqrt((double)sizes_of(op->op).head_dim))};
  return anas_train_emit(train, "scale", &x, 1, attrs, out);
}

// All positions in one dimension, and back.
static anas_status emit_tokens(struct anas_train *train, MlirValue x, MlirValue *out) {
  struct anas_shape shape = anas_train_type(x);
  for (int d = 2; d < shape.rank - 1; d++)
    shape.dim[1] *= shape.dim[d];
  if (shape.rank == 3) {
    *out = x;
    return ANAS_OK;
  }
  shape.dim[2] = shape.dim[shape.rank - 1];
  shape.rank = 3;
  struct anas_attr attrs[] = {anas_attr_extents(&shape)};
  return anas_train_emit(train, "view", &x, 1, attrs, out);
}

static anas_status emit_positions(struct anas_train *train, const struct anas_shape *type, MlirValue x,
                                  MlirValue *out) {
  struct anas_attr attrs[] = {anas_attr_extents(type)};
  if (type->rank != 3) return anas_train_emit(train, "view", &x, 1, attrs, out);
  *out = x;
  return ANAS_OK;
}

static anas_status attention_forward(struct anas_train *train, struct anas_train_op *op) {
  MlirValue *saved = op->saved, query, y;
  struct anas_attr last[] = {ANAS_INT(-1)};
  MlirValue scores, none = {0};
  double rate = op->op->attr[RATE].value.f;
  ANAS_RETURN_IF_ERROR(emit_tokens(train, op->operand[0], &saved[X]));
  MlirValue *projected[] = {&query, &saved[KEYS], &saved[VALUES]};
  for (int p = QUERY; p <= VALUE; p++)
    ANAS_RETURN_IF_ERROR(
        anas_emit_product(train, "btc,chd->bthd", saved[X], kernel_of(op, p), bias_of(op, p), projected[p]));
  ANAS_RETURN_IF_ERROR(emit_scale(train, op, query, &saved[SCALED_QUERY]));
  ANAS_RETURN_IF_ERROR(anas_emit_product(train, "bqhd,bkhd->bhqk", saved[SCALED_QUERY], saved[KEYS], none, &scores));
  ANAS_RETURN_IF_ERROR(anas_train_emit(train, "softmax_fwd", &scores, 1, last, &saved[WEIGHTS]));
  saved[DROPPED] = saved[WEIGHTS];
  if (op->training && rate > 0) ANAS_RETURN_IF_ERROR(anas_emit_dropout(train, rate, saved[WEIGHTS], &saved[DROPPED]));
  ANAS_RETURN_IF_ERROR(
      anas_emit_product(train, "bhqk,bkhd->bqhd", saved[DROPPED], saved[VALUES], none, &saved[ATTENDED]));
  ANAS_RETURN_IF_ERROR(
      anas_emit_product(train, "bqhd,hdf->bqf", saved[ATTENDED], kernel_of(op, OUT), bias_of(op, OUT), &y));
  return emit_positions(train, &op->result_type, y, &op->result);
}

// Gradients of a projection's parameters from its operand and the gradient of its result.
static anas_status projection_gradients(struct anas_train *train, struct anas_train_op *op, int projection,
                                        MlirValue operand, MlirValue gradient) {
  bool biased = op->op->attr[USE_BIAS].value.b, out = projection == OUT;
  int kernel = biased ? 2 * projection : projection;
  ANAS_RETURN_IF_ERROR(anas_emit_product(train, out ? "bqhd,bqf->hdf" : "btc,bthd->chd", operand, gradient,
                                         (MlirValue){0}, &op->grad_param[kernel]));
  if (!biased) return ANAS_OK;
  struct anas_shape bias = anas_train_type(op->param[kernel + 1]);
  struct anas_attr attrs[] = {anas_attr_extents(&bias)};
  return anas_train_emit(train, "sum_to", &gradient, 1, attrs, &op->grad_param[kernel + 1]);
}

// From the gradient of what attention gives to that of queries, keys and values.
static anas_status weights_backward(struct anas_train *train, const struct anas_train_op *op, MlirValue attended,
                                    MlirValue *out /* [3] */) {
  const MlirValue *saved = op->saved;
  struct anas_attr last[] = {ANAS_INT(-1)};
  MlirValue none = {0}, weights, scores, scaled;
  ANAS_RETURN_IF_ERROR(anas_emit_product(train, "bhqk,bqhd->bkhd", saved[DROPPED], attended, none, &out[VALUE]));
  ANAS_RETURN_IF_ERROR(anas_emit_product(train, "bqhd,bkhd->bhqk", attended, saved[VALUES], none, &weights));
  if (!mlirValueEqual(saved[DROPPED], saved[WEIGHTS]))
    ANAS_RETURN_IF_ERROR(
        anas_emit_dropout_gradient(train, op->op->attr[RATE].value.f, saved[DROPPED], weights, &weights));
  MlirValue in[] = {saved[WEIGHTS], weights};
  ANAS_RETURN_IF_ERROR(anas_train_emit(train, "softmax_bwd", in, 2, last, &scores));
  ANAS_RETURN_IF_ERROR(anas_emit_product(train, "bhqk,bkhd->bqhd", scores, saved[KEYS], none, &scaled));
  ANAS_RETURN_IF_ERROR(anas_emit_product(train, "bhqk,bqhd->bkhd", scores, saved[SCALED_QUERY], none, &out[KEY]));
  return emit_scale(train, op, scaled, &out[QUERY]);
}

static anas_status attention_backward(struct anas_train *train, struct anas_train_op *op) {
  MlirValue gradient, attended, projected[3], part, none = {0};
  ANAS_RETURN_IF_ERROR(emit_tokens(train, op->grad_result, &gradient));
  ANAS_RETURN_IF_ERROR(projection_gradients(train, op, OUT, op->saved[ATTENDED], gradient));
  ANAS_RETURN_IF_ERROR(anas_emit_product(train, "bqf,hdf->bqhd", gradient, kernel_of(op, OUT), none, &attended));
  ANAS_RETURN_IF_ERROR(weights_backward(train, op, attended, projected));
  for (int p = QUERY; p <= VALUE; p++)
    ANAS_RETURN_IF_ERROR(projection_gradients(train, op, p, op->saved[X], projected[p]));
  if (!op->need_operand[0]) return ANAS_OK;
  MlirValue sum = none;
  for (int p = QUERY; p <= VALUE; p++) {
    ANAS_RETURN_IF_ERROR(anas_emit_product(train, "bthd,chd->btc", projected[p], kernel_of(op, p), none, &part));
    MlirValue in[] = {sum, part};
    if (p == QUERY)
      sum = part;
    else
      ANAS_RETURN_IF_ERROR(anas_train_emit(train, "add_fwd", in, 2, NULL, &sum));
  }
  return emit_positions(train, &op->op->operand[0], sum, &op->grad_operand[0]);
}

static const struct anas_sample attention_samples[] = {
    {{"2x3x4xf32"}, "{num_heads = 2 : i64}", "2x3x4xf32"},
    {{"2x5x3xf32"}, "{num_heads = \"S:-1\", qkv_features = \"S:-1*2\", out_features = 5 : i64}", "2x5x5xf32"},
    {{"2x2x3x4xf32"}, "{num_heads = 1 : i64, use_bias = false}", "2x2x3x4xf32"},
    {{"2x3x4xf32"}, "{num_heads = 2 : i64, rate = 0.25 : f32}", "2x3x4xf32"},
};

static const struct anas_op_def self_attention = {
    .name = "self_attention",
    .summary = "multi-head self-attention over all positions",
    .description =
        "`q`, `k` and `v` are dense layers of the operand with `qkv_features` features, cut into `num_heads` heads; "
        "`softmax(q k^T / sqrt(features of a head)) v` of all heads together passes a dense layer to `out_features`. "
        "Positions are all dimensions between batch and features. Parameters: `query/kernel`, `key/kernel`, "
        "`value/kernel` (channels, heads, features of a head), `out/kernel` (heads, features of a head, out features) "
        "and, unless `use_bias = false`, `query/bias`, `key/bias`, `value/bias`, `out/bias`. `rate` drops attention "
        "weights in training.",
    .order = 10,
    .num_operands = 1,
    .attrs = attention_attrs,
    .num_attrs = NUM_ATTRS,
    .linearity = ANAS_NONLINEAR,
    .samples = attention_samples,
    .num_samples = ANAS_COUNT(attention_samples),
    .shape = attention_shape,
    .deps = attention_deps,
    .params = attention_params,
    .cost = attention_cost,
    .forward = attention_forward,
    .backward = attention_backward,
};

ANAS_OP_FAMILY(self_attention, &self_attention);
