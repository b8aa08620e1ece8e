// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What anas-synthesize certifies holds when it is inferred again, and no longer once the file was edited.
// RUN: anas-opt %s --anas-synthesize=method=enumerative -o %t.mlir
// RUN: FileCheck %s < %t.mlir
// RUN: anas-opt %t.mlir --anas-check-certificate=required=true
// RUN: not anas-opt %s --anas-check-certificate=required=true 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: anas-opt %s --anas-check-certificate
//
// Another body: the non-linear op gone; the window smaller; an op more.
// RUN: sed 's/"anas.relu"/"anas.identity"/' %t.mlir | not anas-opt --anas-check-certificate 2>&1 | FileCheck %s --check-prefix=DEPTH
// RUN: sed 's/kernel = 3/kernel = 1/' %t.mlir | not anas-opt --anas-check-certificate 2>&1 | FileCheck %s --check-prefix=MIXING
// RUN: sed 's/strides = 2/strides = 1/; s/-> tensor<?x8x8x128xf32>/-> tensor<?x16x16x128xf32>/; s/return %%1 : tensor<?x8x8x128xf32>/return %%1 : tensor<?x16x16x128xf32>/; s/(tensor<?x8x8x128xf32>)/(tensor<?x16x16x128xf32>)/' %t.mlir | not anas-opt --anas-check-certificate 2>&1 | FileCheck %s --check-prefix=SHAPE
//
// Another target, other distances, another requirement, something else altogether.
// RUN: sed 's/anas.target_depth = 2/anas.target_depth = 1/' %t.mlir | not anas-opt --anas-check-certificate 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: sed 's/5.000000e-01, 0.0/2.500000e-01, 0.0/' %t.mlir | not anas-opt --anas-check-certificate 2>&1 | FileCheck %s --check-prefix=DISTANCE
// RUN: sed 's/, 5.000000e-01, 0.0/, 0.0/' %t.mlir | not anas-opt --anas-check-certificate 2>&1 | FileCheck %s --check-prefix=LENGTH
// RUN: sed 's/required = {depth = 2/required = {depth = 3/; s/anas.target_depth = 2/anas.target_depth = 3/' %t.mlir | not anas-opt --anas-check-certificate 2>&1 | FileCheck %s --check-prefix=REQUIRED
// RUN: sed 's/anas.certificate = {.*}}, anas.synthesis/anas.certificate = 3, anas.synthesis/' %t.mlir | not anas-opt --anas-check-certificate 2>&1 | FileCheck %s --check-prefix=MALFORMED
//
// A mutated block is another one, with its own certificate; the others keep theirs.
// RUN: anas-zoo cnn | sed 's/anas.block = "[a-z_]*"/&, anas.target_depth = 1 : i64/' | anas-opt --anas-synthesize=seed=1 -o %t.cnn
// RUN: FileCheck %s --check-prefix=CNN < %t.cnn
// RUN: anas-opt %t.cnn --anas-check-certificate=required=true '--anas-mutate=seed=1 duplicate=0 delete=0 propagate=0' --anas-check-certificate=required=true | FileCheck %s --check-prefix=MUTATED

// CHECK-LABEL: func.func @layer(
// CHECK-SAME: anas.certificate = {actual = {depth = 2 : i64, mixing = dense<{{[][0-9, ]*}}> : tensor<4x4xi8>, shape = array<i64: -1, 8, 8, 128>}
// CHECK-SAME: distance = array<f64: 2.6071428571428572, 5.000000e-01, 0.000000e+00>
// CHECK-SAME: required = {depth = 2 : i64, mixing = dense<{{[][0-9, ]*}}> : tensor<4x4xi8>, shape = array<i64: -1, 8, 8, 128>}}
// CHECK: "anas.conv"(%arg0) {{.*}}kernel = 3 : i64, strides = 2 : i64
// CHECK: "anas.relu"

// NONE: error: 'anas-check-certificate': no function of the module has an attribute anas.certificate
// DEPTH: error: the certificate of '@layer' does not hold: the depth is 1 : i64, it states 2 : i64
// MIXING: error: the certificate of '@layer' does not hold: the mixing is dense<{{[][0-9, ]*}}> : tensor<4x4xi8>, it states dense
// SHAPE: error: the certificate of '@layer' does not hold: the shape is array<i64: -1, 16, 16, 128>, it states array<i64: -1, 8, 8, 128>
// TARGET: error: the certificate of '@layer' does not hold: the target depth is 1 : i64, it states 2 : i64
// DISTANCE: error: the certificate of '@layer' does not hold: the distance behind 1 ops is 0.5, it states 0.25
// LENGTH: error: the certificate of '@layer' does not hold: the chain has 2 ops, it states distances of 1
// REQUIRED: error: the certificate of '@layer' does not hold: the depth is not as required
// MALFORMED: error: the certificate of '@layer' does not hold: it is not a dictionary with 'required' and 'actual'
// CNN: anas.certificate
// MUTATED: anas.mutation = "mutate conv_layer @conv_layer[[N:[01]]]
// MUTATED: func.func private @conv_layer0({{.*}}anas.certificate
// MUTATED: func.func private @conv_layer1({{.*}}anas.certificate
func.func @layer(%x: tensor<?x16x16x64xf32>) -> tensor<?x8x8x128xf32> attributes {
    anas.target_shape = array<i64: -1, 8, 8, 128>, anas.target_depth = 2 : i64,
    anas.target_mixing = dense<[[1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [3, 3, 3, 3]]> : tensor<4x4xi8>} {
  %0 = "anas.conv"(%x) {anas.name = "conv", features = affine_map<(n, h, w, c) -> (c * 2)>, kernel = array<i64: 3, 3>} : (tensor<?x16x16x64xf32>) -> tensor<?x16x16x128xf32>
  %1 = "anas.avg_pool"(%0) {window = 2 : i64, strides = 2 : i64} : (tensor<?x16x16x128xf32>) -> tensor<?x8x8x128xf32>
  return %1 : tensor<?x8x8x128xf32>
}
