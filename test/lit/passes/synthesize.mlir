// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Bodies are replaced by chains with the wanted shape, depth and mixing; the result is checked by inference.
// RUN: anas-opt %s --anas-synthesize=seed=1 --anas-verify --anas-infer-properties | FileCheck %s
// RUN: anas-opt %s '--anas-synthesize=mode=weighted grow=0.2 randomize=true seed=5' --anas-verify --anas-infer-properties | FileCheck %s --check-prefix=SAME-SHAPE
// RUN: anas-opt %s --anas-synthesize=seed=1 > %t.1 && anas-opt %s --anas-synthesize=seed=1 > %t.2 && cmp %t.1 %t.2
// RUN: anas-opt %s '--anas-synthesize=method=primer attempts=1000 seed=3' --anas-verify | FileCheck %s --check-prefix=BASELINE
// RUN: anas-opt %s --anas-synthesize=method=enumerative --anas-check-certificate=required=true | FileCheck %s --check-prefix=ENUMERATIVE
// RUN: not anas-opt %s --anas-synthesize=method=exhaustive 2>&1 | FileCheck %s --check-prefix=METHOD
// RUN: not anas-opt %s --anas-synthesize=mode=best 2>&1 | FileCheck %s --check-prefix=MODE
// RUN: not anas-opt %s --anas-synthesize=max-length=1 2>&1 | FileCheck %s --check-prefix=SHORT
// RUN: sed 's/array<i64: -1, 8, 8, 128>/array<i64: -1, 0, 8, 128>/' %s | not anas-opt --anas-synthesize 2>&1 | FileCheck %s --check-prefix=EXTENT

// METHOD: error: 'anas-synthesize': synthesis method 'exhaustive' does not exist; there are 'progressive', 'enumerative', 'random-enum', 'random', 'primer' and 'automl-zero'
// MODE: error: 'anas-synthesize': synthesis mode 'best' does not exist; there are 'greedy', 'uniform' and 'weighted'
// SHORT: synthesize.mlir:{{[0-9]+}}:1: error: synthesis of '@layer': no chain of at most 1 ops was found
// EXTENT: <stdin>:{{[0-9]+}}:1: error: attribute 'anas.target_shape' of function '@layer' must be array<i64: ...>

// A baseline that misses says how far it is behind every op, and is not certified.
// BASELINE: func.func @layer(
// BASELINE-NOT: anas.certificate
// BASELINE-SAME: anas.synthesis = {candidates = {{[0-9]+}} : i64, distance = {{[0-9.e-]+}} : f64, length = {{[1-9]}} : i64, method = "primer", trace = array<f64: {{[-0-9., e]+}}>}

// ENUMERATIVE: func.func @layer({{.*}}anas.certificate = {
// ENUMERATIVE-SAME: length = 2 : i64, method = "enumerative"}

// A layer that halves the extent and doubles the features, two changes deep and with a covered 3x3 neighbourhood.
// CHECK-LABEL: func.func @layer(
// CHECK-SAME: -> tensor<?x8x8x128xf32>
// CHECK-SAME: anas.depth = dense<{{[2-9]}}> : tensor<1x1xi64>
// CHECK-SAME{LITERAL}: anas.mixing = [[dense<[[1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [3, 3, 3, 3]]> : tensor<4x4xi8>]]
// CHECK-SAME: anas.synthesis = {candidates = {{[0-9]+}} : i64, distance = 0.000000e+00 : f64, length = {{[1-8]}} : i64, method = "progressive"}
// CHECK-NOT: strides = 1
// CHECK: return %{{[0-7]}} : tensor<?x8x8x128xf32>
// SAME-SHAPE-LABEL: func.func @layer(
// SAME-SHAPE: -> tensor<?x8x8x128xf32>
func.func @layer(%x: tensor<?x16x16x64xf32>) -> tensor<?x8x8x128xf32> attributes {
    anas.target_shape = array<i64: -1, 8, 8, 128>, anas.target_depth = 2 : i64,
    anas.target_mixing = dense<[[1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [3, 3, 3, 3]]> : tensor<4x4xi8>} {
  %0 = "anas.conv"(%x) {anas.name = "conv", features = affine_map<(n, h, w, c) -> (c * 2)>, kernel = array<i64: 3, 3>} : (tensor<?x16x16x64xf32>) -> tensor<?x16x16x128xf32>
  %1 = "anas.avg_pool"(%0) {window = 2 : i64, strides = 2 : i64} : (tensor<?x16x16x128xf32>) -> tensor<?x8x8x128xf32>
  return %1 : tensor<?x8x8x128xf32>
}

// Two instances of one block get the same ops, whatever their sizes.
// CHECK-LABEL: func.func @main(
// CHECK-LABEL: func.func private @a(
// CHECK: "anas.[[FIRST:[a-z_]+]]"(%arg0)
// CHECK-LABEL: func.func private @b(
// CHECK: "anas.[[FIRST]]"(%arg0)
func.func @main(%x: tensor<?x8xf32>) -> tensor<?x32xf32> {
  %0 = call @a(%x) : (tensor<?x8xf32>) -> tensor<?x16xf32>
  %1 = call @b(%0) : (tensor<?x16xf32>) -> tensor<?x32xf32>
  return %1 : tensor<?x32xf32>
}
func.func private @a(%x: tensor<?x8xf32>) -> tensor<?x16xf32> attributes {anas.block = "twice", anas.target_depth = dense<3> : tensor<1x1xi64>} {
  %0 = "anas.dense"(%x) {anas.name = "d", features = affine_map<(n, c) -> (c * 2)>} : (tensor<?x8xf32>) -> tensor<?x16xf32>
  return %0 : tensor<?x16xf32>
}
func.func private @b(%x: tensor<?x16xf32>) -> tensor<?x32xf32> attributes {anas.block = "twice", anas.target_depth = dense<3> : tensor<1x1xi64>} {
  %0 = "anas.dense"(%x) {anas.name = "d", features = affine_map<(n, c) -> (c * 2)>} : (tensor<?x16xf32>) -> tensor<?x32xf32>
  return %0 : tensor<?x32xf32>
}
