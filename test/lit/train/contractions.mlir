// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: anas-opt %s -split-input-file --anas-train-step=batch=2 | FileCheck %s
// RUN: anas-opt %s -split-input-file --anas-infer-shapes --anas-cost | FileCheck %s --check-prefix=COST

// Gradients of an einsum are contractions of the result's gradient and the other operand; the ellipsis got letters.
// CHECK-LABEL: func.func @train_step
// CHECK: anas.contraction{{.*}}equation = "Aqhd,Akhd->Ahqk"
// CHECK-SAME: tensor<2x5x2x3xf32>, tensor<2x5x2x3xf32>) -> tensor<2x2x5x5xf32>
// CHECK: anas.contraction{{.*}}equation = "Ahqk,Akhd->Aqhd"
// CHECK: anas.contraction{{.*}}equation = "Ahqk,Aqhd->Akhd"
// COST: anas.macs = 276 : i64
func.func @main(%image: tensor<?x5x2x3xf32>) -> tensor<?x3xf32> {
  %q = "anas.dense"(%image) {anas.name = "q", features = 3 : i64, use_bias = false} : (tensor<?x5x2x3xf32>) -> tensor<?x5x2x3xf32>
  %0 = "anas.einsum"(%q, %q) {equation = "...qhd,...khd->...hqk"} : (tensor<?x5x2x3xf32>, tensor<?x5x2x3xf32>) -> tensor<*xf32>
  %1 = "anas.mean"(%0) {axes = array<i64: 1, 2>} : (tensor<*xf32>) -> tensor<?x5xf32>
  %2 = "anas.dense"(%1) {anas.name = "head", features = 3 : i64, use_bias = false} : (tensor<?x5xf32>) -> tensor<?x3xf32>
  %3 = "anas.dot_general"(%2, %2) {lhs_batch = array<i64: 0>, rhs_batch = array<i64: 0>} : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3x3xf32>
  %4 = "anas.einsum"(%3, %2) {equation = "bij,bj->bi"} : (tensor<?x3x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %5 = "anas.einsum"(%4, %2) {equation = "bi,bi->bi"} : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  return %5 : tensor<?x3xf32>
}

// -----

// Self-attention: four projections of 6 to 6 features at 4 positions, and two products of 4 by 4 weights for each of 6
// features; the head adds 6 * 3.
// CHECK-LABEL: func.func @train_step
// CHECK-SAME: tensor<6x2x3xf32> {anas.fan_in = 6 : i64, anas.fan_out = 6 : i64, anas.init = "lecun_normal", anas.param = "main/attention/query/kernel"}
// CHECK: anas.contraction{{.*}}equation = "btc,chd->bthd"
// CHECK: anas.softmax_fwd
// CHECK: anas.dropout_mask
// CHECK: anas.contraction{{.*}}equation = "bqhd,hdf->bqf"
// CHECK-LABEL: func.func @infer
// CHECK-NOT: anas.dropout_mask
// COST: anas.macs = 786 : i64, anas.params = 189 : i64
func.func @main(%image: tensor<?x2x2x6xf32>) -> tensor<?x3xf32> {
  %0 = "anas.self_attention"(%image) {anas.name = "attention", num_heads = 2 : i64, rate = 0.5 : f32} : (tensor<?x2x2x6xf32>) -> tensor<*xf32>
  %1 = "anas.mean"(%0) {axes = array<i64: 1, 2>} : (tensor<*xf32>) -> tensor<?x6xf32>
  %2 = "anas.dense"(%1) {anas.name = "head", features = 3 : i64} : (tensor<?x6xf32>) -> tensor<?x3xf32>
  return %2 : tensor<?x3xf32>
}
