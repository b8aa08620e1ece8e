// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Each part is a module of its own; errors have the line numbers of the file, and spoil the output as a whole.
// RUN: anas-opt %s -split-input-file | FileCheck %s
// RUN: anas-opt %s --split-input-file=true --anas-infer-shapes | FileCheck %s
// RUN: echo before > %t.out
// RUN: sed s/anas.relu/anas.tanhh/ %s > %t.mlir
// RUN: not anas-opt %t.mlir --split-input-file -o %t.out 2>&1 | FileCheck %s --check-prefix=ERROR -DFILE=%t.mlir
// RUN: FileCheck %s --check-prefix=UNTOUCHED --input-file=%t.out
// RUN: not anas-opt %s 2>&1 | FileCheck %s --check-prefix=WHOLE

// CHECK: func.func @f(
// CHECK: // -----
// CHECK: func.func @f(
// CHECK: "anas.relu"
// CHECK-NOT: // -----
// ERROR: [[FILE]]:[[# @LINE + 9]]:8: error: unregistered operation 'anas.tanhh'
// UNTOUCHED: before
// UNTOUCHED-NOT: func
// WHOLE: error: redefinition of symbol named 'f'
func.func @f(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
  return %x : tensor<?x3xf32>
}
// -----
func.func @f(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
  %0 = "anas.relu"(%x) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  return %0 : tensor<?x3xf32>
}
