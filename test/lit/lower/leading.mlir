// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A kernel tells the runtime its operands, its range, and into how many parts it can be cut for a group.
// RUN: anas-opt %s --anas-to-llvm=cpu=x86-64-v4 | FileCheck %s
// RUN: anas-opt %s --anas-to-llvm=reference=true | FileCheck %s --check-prefix=REFERENCE

// CHECK-LABEL: llvm.func @k_twice(
// CHECK: llvm.mlir.constant(2 : i32) : i32
// CHECK-NEXT: llvm.mlir.constant(16 : i64) : i64
// CHECK-NEXT: llvm.mlir.constant(8 : i64) : i64
// CHECK: llvm.call @anas_launch(
// REFERENCE-LABEL: llvm.func @k_twice(
// REFERENCE: llvm.mlir.constant(2 : i32) : i32
// REFERENCE-NEXT: llvm.mlir.constant(1 : i64) : i64
// REFERENCE-NEXT: llvm.mlir.constant(0 : i64) : i64
// REFERENCE: llvm.call @anas_launch(

#id = affine_map<(d0, d1) -> (d0, d1)>
func.func private @k_twice(%a: memref<8x64xf32>, %b: memref<8x64xf32>) attributes {anas.kernel = "twice", anas.flops = 512.0 : f64, anas.bytes = 4096.0 : f64} {
  linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
    ins(%a : memref<8x64xf32>) outs(%b : memref<8x64xf32>) {
  ^bb0(%x: f32, %o: f32):
    %s = arith.addf %x, %x : f32
    linalg.yield %s : f32
  }
  return
}
