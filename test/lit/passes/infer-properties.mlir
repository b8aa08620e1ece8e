// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Depth and mixing of every function; a block is summarised, not inlined.
// RUN: anas-opt %s --anas-infer-properties | FileCheck %s
// RUN: anas-opt %s --anas-infer-properties | anas-opt --anas-infer-properties | FileCheck %s

// Stem, two blocks, mean and dense: five changes from a non-linear producer.
// CHECK-LABEL: func.func @main(
// CHECK-SAME: anas.depth = dense<5> : tensor<1x1xi64>
// CHECK-SAME{LITERAL}: anas.mixing = [[dense<[[1, 0], [3, 3], [3, 3], [3, 3]]> : tensor<4x2xi8>]]
func.func @main(%image: tensor<?x32x32x3xf32>) -> tensor<?x10xf32> {
  %0 = "anas.conv"(%image) {anas.name = "stem/conv", features = 32 : i64, kernel = array<i64: 3, 3>, use_bias = false} : (tensor<?x32x32x3xf32>) -> tensor<?x32x32x32xf32>
  %1 = call @stage0(%0) : (tensor<?x32x32x32xf32>) -> tensor<?x16x16x64xf32>
  %2 = call @stage1(%1) : (tensor<?x16x16x64xf32>) -> tensor<?x8x8x128xf32>
  %3 = "anas.mean"(%2) {axes = array<i64: 1, 2>} : (tensor<?x8x8x128xf32>) -> tensor<?x128xf32>
  %4 = "anas.dense"(%3) {anas.name = "head/dense", features = 10 : i64} : (tensor<?x128xf32>) -> tensor<?x10xf32>
  return %4 : tensor<?x10xf32>
}

// CHECK-LABEL: func.func private @stage0(
// CHECK-SAME: anas.block = "down"
// CHECK-SAME: anas.depth = dense<2> : tensor<1x1xi64>
// CHECK-SAME{LITERAL}: anas.mixing = [[dense<[[1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [3, 3, 3, 3]]> : tensor<4x4xi8>]]
func.func private @stage0(%x: tensor<?x32x32x32xf32>) -> tensor<?x16x16x64xf32> attributes {anas.block = "down"} {
  %0 = "anas.conv"(%x) {anas.name = "conv", features = affine_map<(n, h, w, c) -> (c * 2)>, kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, use_bias = false} : (tensor<?x32x32x32xf32>) -> tensor<?x16x16x64xf32>
  %1 = "anas.batch_norm"(%0) {anas.name = "bn"} : (tensor<?x16x16x64xf32>) -> tensor<?x16x16x64xf32>
  %2 = "anas.relu"(%1) : (tensor<?x16x16x64xf32>) -> tensor<?x16x16x64xf32>
  return %2 : tensor<?x16x16x64xf32>
}

// CHECK-LABEL: func.func private @stage1(
// CHECK-SAME: anas.depth = dense<2> : tensor<1x1xi64>
func.func private @stage1(%x: tensor<?x16x16x64xf32>) -> tensor<?x8x8x128xf32> attributes {anas.block = "down"} {
  %0 = "anas.conv"(%x) {anas.name = "conv", features = affine_map<(n, h, w, c) -> (c * 2)>, kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, use_bias = false} : (tensor<?x16x16x64xf32>) -> tensor<?x8x8x128xf32>
  %1 = "anas.batch_norm"(%0) {anas.name = "bn"} : (tensor<?x8x8x128xf32>) -> tensor<?x8x8x128xf32>
  %2 = "anas.relu"(%1) : (tensor<?x8x8x128xf32>) -> tensor<?x8x8x128xf32>
  return %2 : tensor<?x8x8x128xf32>
}

// An argument with a linear producer starts one change lower; a result may be an argument, or not depend on it.
// CHECK-LABEL: func.func @two(
// CHECK-SAME{LITERAL}: anas.depth = dense<[[0, -1], [-1, 0]]> : tensor<2x2xi64>
// CHECK-SAME{LITERAL}: anas.mixing = [[dense<[[1, 0], [3, 3]]> : tensor<2x2xi8>, dense<0> : tensor<2x2xi8>], [dense<0> : tensor<2x2xi8>, dense<[[1, 0], [0, 1]]> : tensor<2x2xi8>]]
func.func @two(%x: tensor<?x4xf32> {anas.producer = "linear"}, %y: tensor<?x6xf32>) -> (tensor<?x4xf32>, tensor<?x6xf32>) {
  %0 = "anas.dense"(%x) {anas.name = "d", features = 4 : i64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %0, %y : tensor<?x4xf32>, tensor<?x6xf32>
}
