// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// For tests of passes/train and passes/lower: a small network with everything that fusion and planning meet (packed
// convolutions, batch normalisation, a residual sum, pooling, dropout, bias), and its training step.
#ifndef ANAS_TEST_STEP_FIXTURE_H
#define ANAS_TEST_STEP_FIXTURE_H

#include "dialect/context.h"
#include "passes/lower/lower.h"
#include "passes/lower/step.h"

#include <string.h>

#define FIXTURE_BATCH 3

static const char fixture_cnn[] =
    "func.func @main(%image: tensor<?x7x6x3xf32>) -> tensor<?x4xf32> {\n"
    "  %0 = \"anas.conv\"(%image) {anas.name = \"stem/conv\", features = 5 : i64, kernel = array<i64: 3, 3>, use_bias "
    "= "
    "false} : (tensor<?x7x6x3xf32>) -> tensor<?x7x6x5xf32>\n"
    "  %1 = \"anas.batch_norm\"(%0) {anas.name = \"stem/bn\"} : (tensor<?x7x6x5xf32>) -> tensor<?x7x6x5xf32>\n"
    "  %2 = \"anas.relu\"(%1) : (tensor<?x7x6x5xf32>) -> tensor<?x7x6x5xf32>\n"
    "  %3 = call @res(%2) : (tensor<?x7x6x5xf32>) -> tensor<?x7x6x5xf32>\n"
    "  %4 = \"anas.conv\"(%3) {anas.name = \"down\", features = 6 : i64, kernel = array<i64: 3, 3>, strides = "
    "array<i64: 2, 2>} : (tensor<?x7x6x5xf32>) -> tensor<?x4x3x6xf32>\n"
    "  %5 = \"anas.relu\"(%4) : (tensor<?x4x3x6xf32>) -> tensor<?x4x3x6xf32>\n"
    "  %6 = \"anas.max_pool\"(%5) {window = array<i64: 3, 3>, strides = array<i64: 2, 2>, padding = \"SAME\"} : "
    "(tensor<?x4x3x6xf32>) -> tensor<?x2x2x6xf32>\n"
    "  %7 = \"anas.dropout\"(%6) {rate = 0.25 : f32} : (tensor<?x2x2x6xf32>) -> tensor<?x2x2x6xf32>\n"
    "  %8 = \"anas.mean\"(%7) {axes = array<i64: 1, 2>} : (tensor<?x2x2x6xf32>) -> tensor<?x6xf32>\n"
    "  %9 = \"anas.dense\"(%8) {anas.name = \"head\", features = 4 : i64} : (tensor<?x6xf32>) -> tensor<?x4xf32>\n"
    "  return %9 : tensor<?x4xf32>\n"
    "}\n"
    "func.func private @res(%x: tensor<?x7x6x5xf32>) -> tensor<?x7x6x5xf32> attributes {anas.block = \"res\"} {\n"
    "  %0 = \"anas.conv\"(%x) {anas.name = \"conv\", features = 5 : i64, kernel = array<i64: 3, 3>} : "
    "(tensor<?x7x6x5xf32>) -> tensor<?x7x6x5xf32>\n"
    "  %1 = \"anas.batch_norm\"(%0) {anas.name = \"bn\"} : (tensor<?x7x6x5xf32>) -> tensor<?x7x6x5xf32>\n"
    "  %2 = \"anas.add\"(%1, %x) : (tensor<?x7x6x5xf32>, tensor<?x7x6x5xf32>) -> tensor<?x7x6x5xf32>\n"
    "  %3 = \"anas.relu\"(%2) : (tensor<?x7x6x5xf32>) -> tensor<?x7x6x5xf32>\n"
    "  return %3 : tensor<?x7x6x5xf32>\n"
    "}\n";

static const char fixture_mlp[] =
    "func.func @main(%image: tensor<?x4x4x3xf32>) -> tensor<?x10xf32> {\n"
    "  %0 = \"anas.flatten\"(%image) : (tensor<?x4x4x3xf32>) -> tensor<?x48xf32>\n"
    "  %1 = \"anas.dense\"(%0) {anas.name = \"hidden\", features = 1 : i64} : (tensor<?x48xf32>) -> tensor<?x1xf32>\n"
    "  %2 = \"anas.relu\"(%1) : (tensor<?x1xf32>) -> tensor<?x1xf32>\n"
    "  %3 = \"anas.dense\"(%2) {anas.name = \"head\", features = 10 : i64} : (tensor<?x1xf32>) -> tensor<?x10xf32>\n"
    "  return %3 : tensor<?x10xf32>\n"
    "}\n";

// Attention without reshapes and as one op, a kernel for every position, products of a value with itself.
static const char fixture_attention[] =
    "func.func @main(%image: tensor<?x5x2x3xf32>) -> tensor<?x4xf32> {\n"
    "  %q = \"anas.dense\"(%image) {anas.name = \"q\", features = 7 : i64} : (tensor<?x5x2x3xf32>) -> "
    "tensor<?x5x2x7xf32>\n"
    "  %k = \"anas.dense\"(%image) {anas.name = \"k\", features = 7 : i64} : (tensor<?x5x2x3xf32>) -> "
    "tensor<?x5x2x7xf32>\n"
    "  %v = \"anas.dense\"(%image) {anas.name = \"v\", features = 7 : i64} : (tensor<?x5x2x3xf32>) -> "
    "tensor<?x5x2x7xf32>\n"
    "  %s = \"anas.scalar_mul\"(%q) : (tensor<?x5x2x7xf32>) -> tensor<?x5x2x7xf32>\n"
    "  %0 = \"anas.einsum\"(%s, %k) {equation = \"...qhd,...khd->...hqk\"} : (tensor<?x5x2x7xf32>, "
    "tensor<?x5x2x7xf32>) -> tensor<?x2x5x5xf32>\n"
    "  %1 = \"anas.softmax\"(%0) : (tensor<?x2x5x5xf32>) -> tensor<?x2x5x5xf32>\n"
    "  %2 = \"anas.einsum\"(%1, %v) {equation = \"...hqk,...khd->...qhd\"} : (tensor<?x2x5x5xf32>, "
    "tensor<?x5x2x7xf32>) -> tensor<?x5x2x7xf32>\n"
    "  %a = \"anas.self_attention\"(%2) {anas.name = \"attention\", num_heads = 2 : i64, qkv_features = 6 : i64, rate "
    "= "
    "0.25 : f32} : (tensor<?x5x2x7xf32>) -> tensor<?x5x2x7xf32>\n"
    "  %g = \"anas.dense_general\"(%a) {anas.name = \"general\", features = 7 : i64, batch_dims = array<i64: 1>} : "
    "(tensor<?x5x2x7xf32>) -> tensor<?x5x2x7xf32>\n"
    "  %3 = \"anas.einsum\"(%g, %g) {equation = \"nqhd,nqhe->nde\"} : (tensor<?x5x2x7xf32>, tensor<?x5x2x7xf32>) -> "
    "tensor<?x7x7xf32>\n"
    "  %n = \"anas.softmax\"(%3) : (tensor<?x7x7xf32>) -> tensor<?x7x7xf32>\n"
    "  %4 = \"anas.einsum\"(%n, %n) {equation = \"nde,nde->nd\"} : (tensor<?x7x7xf32>, tensor<?x7x7xf32>) -> "
    "tensor<?x7xf32>\n"
    "  %5 = \"anas.dense\"(%4) {anas.name = \"head\", features = 4 : i64} : (tensor<?x7xf32>) -> tensor<?x4xf32>\n"
    "  return %5 : tensor<?x4xf32>\n"
    "}\n";

// The training step of an architecture given as text.
static inline anas_status fixture_train_step(MlirContext context, const char *text, MlirModule *out) {
  MlirModule module;
  ANAS_RETURN_IF_ERROR(anas_parse(context, text, strlen(text), "test", &module));
  anas_status status = anas_build_train_step(module, FIXTURE_BATCH, 0.9, 1e-2);
  if (status == ANAS_OK && !mlirOperationVerify(mlirModuleGetOperation(module)))
    status = anas_fail(ANAS_INTERNAL, "the training step does not verify");
  if (status == ANAS_OK)
    *out = module;
  else
    mlirModuleDestroy(module);
  return status;
}

static inline MlirOperation fixture_function(MlirModule module, int number) {
  MlirOperation op = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  return number ? mlirOperationGetNextInBlock(op) : op;
}

// Transforms a step as anas-to-kernels does; options as there.
static inline anas_status fixture_transform(struct anas_step *step, const struct anas_lower_options *options) {
  anas_step_remove_dead(step);
  if (!options->no_fusion) anas_step_fuse(step);
  if (!options->no_merging)
    ANAS_RETURN_IF_ERROR(anas_step_merge_horizontal(step, options->update_bytes, options->update_pieces));
  if (!options->no_reuse) anas_step_reuse_in_place(step);
  if (!options->no_groups) anas_step_group(step, options->group_bytes);
  return ANAS_OK;
}

#endif
