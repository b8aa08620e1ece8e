// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A 3x3 convolution in parts over scratch memory, unless it is asked for direct sums.
// RUN: anas-opt %s --anas-train-step=batch=8 --anas-to-kernels --anas-to-llvm=cpu=x86-64-v4 | FileCheck %s
// RUN: anas-opt %s --anas-train-step=batch=8 --anas-to-kernels '--anas-to-llvm=cpu=x86-64-v4 winograd=false' \
// RUN:   | FileCheck %s --check-prefix=DIRECT
// CHECK: anas.scratch =
// CHECK: llvm.mlir.global external @anas_scratch
// CHECK: llvm.func @[[K:k_[0-9a-f]+]]_range1(
// CHECK: llvm.mlir.addressof @anas_scratch
// CHECK: llvm.mlir.addressof @[[K]]_range1
// DIRECT-NOT: anas_scratch
// DIRECT-NOT: _range1
module {
  func.func @main(%x: tensor<?x32x32x32xf32>) -> tensor<?x10xf32> {
    %0 = "anas.conv"(%x) {anas.name = "conv", features = 64 : i64, kernel = array<i64: 3, 3>} : (tensor<?x32x32x32xf32>) -> tensor<?x32x32x64xf32>
    %1 = "anas.flatten"(%0) : (tensor<?x32x32x64xf32>) -> tensor<?x65536xf32>
    %2 = "anas.dense"(%1) {anas.name = "logits", features = 10 : i64} : (tensor<?x65536xf32>) -> tensor<?x10xf32>
    return %2 : tensor<?x10xf32>
  }
}
