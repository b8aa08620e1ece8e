// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: not anas-opt %s --anas-to-kernels 2>&1 | FileCheck %s
// CHECK: error: {{.*}}the module has no function '@train_step'; run anas-train-step first
func.func @main(%image: tensor<?x3xf32>) -> tensor<?x3xf32> {
  %0 = "anas.relu"(%image) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  return %0 : tensor<?x3xf32>
}
