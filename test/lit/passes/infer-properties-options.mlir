// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Options of anas-infer-properties and anas-infer-shapes.
// RUN: anas-opt %s --anas-infer-properties=reads=true | FileCheck %s
// RUN: anas-opt %s --anas-infer-properties=reads=true | anas-opt | FileCheck %s
// RUN: anas-opt %s --anas-infer-properties=strict-reference=true | FileCheck %s --check-prefix=STRICT
// RUN: anas-opt %s --anas-infer-shapes='batch=2 max-size=1000' | FileCheck %s --check-prefix=FITS
// RUN: not anas-opt %s --anas-infer-shapes='batch=2 max-size=511' 2>&1 | FileCheck %s --check-prefix=LARGE
// RUN: not anas-opt %s --anas-infer-shapes=batch=0 2>&1 | FileCheck %s --check-prefix=BATCH

// Neither reads nor transparent neutral ops are part of the strict reference.
// CHECK-LABEL: func.func @main(
// CHECK-SAME: anas.depth = dense<3>
// CHECK-SAME{LITERAL}: anas.reads = [[["y0", "2*y1-1..2*y1+1", "2*y2-1..2*y2+1", "all"]]]
// STRICT-LABEL: func.func @main(
// STRICT-SAME: anas.depth = dense<2>
// STRICT-SAME{LITERAL}: anas.mixing = [[dense<[[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [3, 3, 3, 3]]>
// STRICT-NOT: anas.reads
// FITS: func.func @main
// LARGE: error: 'anas-infer-shapes': the result of 'anas.conv' in '@main', tensor<?x8x8x4xf32>, has 512 elements at batch 2; max-size allows 511
// BATCH: error: {{.*}}batch must be at least 1
func.func @main(%x: tensor<?x8x8x4xf32>) -> tensor<?x4x4x4xf32> {
  %0 = "anas.conv"(%x) {anas.name = "a", features = 4 : i64, kernel = 3 : i64} : (tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>
  %1 = "anas.identity"(%0) : (tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>
  %2 = "anas.relu"(%1) : (tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>
  %3 = "anas.avg_pool"(%2) {window = 1 : i64, strides = 2 : i64} : (tensor<?x8x8x4xf32>) -> tensor<?x4x4x4xf32>
  return %3 : tensor<?x4x4x4xf32>
}

// Blocks of channels, pieces of a flattened index, a union without a closed form, and an argument nobody reads.
// CHECK-LABEL: func.func @forms(
// CHECK-SAME{LITERAL}: anas.reads = [[["y0", "(y1/24)-1..(y1/24)+1", "(y1/4%6)-1..(y1/4%6)+1", "2*(y1/2%2)..2*(y1/2%2)+1"], ["nothing", "nothing"]], [["y0", "y1-2..y1+2 step 2 and y1-1..y1+2 step 3", "y2-2..y2+2 step 2 and y2-1..y2+2 step 3", "all"], ["nothing", "nothing"]]]
func.func @forms(%x: tensor<?x4x6x4xf32>, %y: tensor<?x3xf32>) -> (tensor<?x96xf32>, tensor<?x4x6x4xf32>) {
  %0 = "anas.conv"(%x) {anas.name = "a", features = 4 : i64, kernel = 3 : i64, groups = 2 : i64} : (tensor<?x4x6x4xf32>) -> tensor<?x4x6x4xf32>
  %1 = "anas.flatten"(%0) : (tensor<?x4x6x4xf32>) -> tensor<?x96xf32>
  %2 = "anas.conv"(%x) {anas.name = "b", features = 4 : i64, kernel = 3 : i64, dilation = 2 : i64} : (tensor<?x4x6x4xf32>) -> tensor<?x4x6x4xf32>
  %3 = "anas.conv"(%x) {anas.name = "c", features = 4 : i64, kernel = 2 : i64, dilation = 3 : i64} : (tensor<?x4x6x4xf32>) -> tensor<?x4x6x4xf32>
  %4 = "anas.add"(%2, %3) : (tensor<?x4x6x4xf32>, tensor<?x4x6x4xf32>) -> tensor<?x4x6x4xf32>
  return %1, %4 : tensor<?x96xf32>, tensor<?x4x6x4xf32>
}
