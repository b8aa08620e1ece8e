// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A block with an op without operands, one that stops dependencies, and stochastic depth: properties, and mutations that
// verify, train and lower.
// RUN: anas-opt %s --anas-infer-properties --anas-cost | FileCheck %s
// RUN: anas-opt %s --seed=1 --anas-mutate --anas-train-step=batch=2 --anas-to-kernels -o /dev/null
// RUN: anas-opt %s --seed=2 --anas-mutate --anas-train-step=batch=2 --anas-to-kernels -o /dev/null
// RUN: anas-opt %s --seed=3 --anas-mutate --anas-train-step=batch=2 --anas-to-kernels -o /dev/null

// CHECK-LABEL: func.func @main(
// CHECK-SAME: anas.params = 858
// CHECK-LABEL: func.func private @b0(
// CHECK-SAME: anas.depth = dense<3>
// CHECK-SAME{LITERAL}: anas.mixing = [[dense<[[1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [3, 3, 3, 3]]> : tensor<4x4xi8>]]
// CHECK-LABEL: func.func private @stopped(
// CHECK-SAME: anas.depth = dense<-1>
// CHECK-SAME{LITERAL}: anas.mixing = [[dense<0> : tensor<4x4xi8>]]
func.func @main(%image: tensor<?x8x8x4xf32>) -> tensor<?x10xf32> {
  %0 = call @b0(%image) : (tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>
  %1 = call @b1(%0) : (tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>
  %2 = "anas.mean"(%1) {axes = [1, 2]} : (tensor<?x8x8x4xf32>) -> tensor<?x4xf32>
  %3 = "anas.dense"(%2) {anas.name = "head", features = 10 : i64} : (tensor<?x4xf32>) -> tensor<?x10xf32>
  return %3 : tensor<?x10xf32>
}
func.func private @b0(%x: tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32> attributes {anas.block = "k"} {
  %p = "anas.param"() {anas.name = "p", shape = [1, 8, 8, 4]} : () -> tensor<1x8x8x4xf32>
  %q = "anas.relu"(%p) : (tensor<1x8x8x4xf32>) -> tensor<1x8x8x4xf32>
  %0 = "anas.add"(%x, %q) : (tensor<?x8x8x4xf32>, tensor<1x8x8x4xf32>) -> tensor<?x8x8x4xf32>
  %1 = "anas.conv"(%0) {anas.name = "c", features = "S:-1", kernel = 3 : i64} : (tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>
  %2 = "anas.gelu"(%1) : (tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>
  %n = "anas.none"(%x) : (tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>
  %3 = "anas.add"(%2, %n) {layer_drop_rate = 0.1 : f32} : (tensor<?x8x8x4xf32>, tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>
  return %3 : tensor<?x8x8x4xf32>
}
func.func private @b1(%x: tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32> attributes {anas.block = "k"} {
  %p = "anas.param"() {anas.name = "p", shape = [1, 8, 8, 4]} : () -> tensor<1x8x8x4xf32>
  %q = "anas.relu"(%p) : (tensor<1x8x8x4xf32>) -> tensor<1x8x8x4xf32>
  %0 = "anas.add"(%x, %q) : (tensor<?x8x8x4xf32>, tensor<1x8x8x4xf32>) -> tensor<?x8x8x4xf32>
  %1 = "anas.conv"(%0) {anas.name = "c", features = "S:-1", kernel = 3 : i64} : (tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>
  %2 = "anas.gelu"(%1) : (tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>
  %n = "anas.none"(%x) : (tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>
  %3 = "anas.add"(%2, %n) {layer_drop_rate = 0.1 : f32} : (tensor<?x8x8x4xf32>, tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>
  return %3 : tensor<?x8x8x4xf32>
}
func.func private @stopped(%x: tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32> {
  %p = "anas.param"() {anas.name = "p", shape = [4]} : () -> tensor<4xf32>
  %n = "anas.none"(%x) : (tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>
  %0 = "anas.mul"(%n, %p) : (tensor<?x8x8x4xf32>, tensor<4xf32>) -> tensor<?x8x8x4xf32>
  return %0 : tensor<?x8x8x4xf32>
}
