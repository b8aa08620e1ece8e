// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Products of bf16: where they are faster, wherever they are possible, and not at all.
// RUN: anas-opt %s --anas-train-step=batch=256 --anas-to-kernels '--anas-to-llvm=cpu=znver5 precision=bf16' | FileCheck %s
// RUN: anas-opt %s --anas-train-step=batch=256 --anas-to-kernels '--anas-to-llvm=cpu=cooperlake precision=bf16' \
// RUN:   | FileCheck %s --check-prefix=NONE
// RUN: anas-opt %s --anas-train-step=batch=256 --anas-to-kernels '--anas-to-llvm=cpu=cooperlake precision=bf16-always' \
// RUN:   | FileCheck %s
// RUN: anas-opt %s --anas-train-step=batch=256 --anas-to-kernels '--anas-to-llvm=cpu=znver5' \
// RUN:   | FileCheck %s --check-prefix=NONE
// RUN: not anas-opt %s --anas-train-step=batch=256 --anas-to-kernels \
// RUN:   '--anas-to-llvm=cpu=x86-64-v4 precision=bf16' 2>&1 | FileCheck %s --check-prefix=ERROR
// CHECK-DAG: llvm.fptrunc
// CHECK-DAG: llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.
// NONE-NOT: dpbf16ps
// ERROR: bf16 needs a processor with the feature avx512bf16 (vdpbf16ps), which 'x86-64-v4' has not
module {
  func.func @main(%x: tensor<?x32x32x3xf32>) -> tensor<?x512xf32> {
    %0 = "anas.flatten"(%x) : (tensor<?x32x32x3xf32>) -> tensor<?x3072xf32>
    %1 = "anas.dense"(%0) {anas.name = "logits", features = 512 : i64} : (tensor<?x3072xf32>) -> tensor<?x512xf32>
    return %1 : tensor<?x512xf32>
  }
}
