// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Text in, text out; generic form, bytecode, standard input and output, with one or two dashes.
// RUN: anas-opt %s | FileCheck %s
// RUN: cat %s | anas-opt - -o - | FileCheck %s
// RUN: cat %s | anas-opt -o %t.mlir && FileCheck %s --input-file=%t.mlir
// RUN: anas-opt %s --emit-bytecode -o %t.mlirbc && anas-opt %t.mlirbc | FileCheck %s
// RUN: anas-opt %s -mlir-print-op-generic | FileCheck %s --check-prefix=GENERIC
// RUN: anas-opt %s --mlir-print-debuginfo | FileCheck %s --check-prefix=LOC
// RUN: anas-opt %s --mlir-print-local-scope | FileCheck %s --check-prefix=LOCAL

// CHECK: #[[MAP:.*]] = affine_map<(d0, d1) -> (d1 * 2)>
// CHECK-LABEL: func.func @main(
// CHECK-SAME: %[[X:.*]]: tensor<?x8xf32>) -> tensor<?x16xf32>
// CHECK: %[[D:.*]] = "anas.dense"(%[[X]]) {anas.name = "d", features = #[[MAP]]} : (tensor<?x8xf32>) -> tensor<?x16xf32>
// CHECK: "anas.relu"(%[[D]]) : (tensor<?x16xf32>) -> tensor<?x16xf32>
// GENERIC: "func.func"() <{function_type = (tensor<?x8xf32>) -> tensor<?x16xf32>, sym_name = "main"}> ({
// LOC: "anas.relu"{{.*}} loc(#loc{{[0-9]+}})
// LOC: #loc{{[0-9]+}} = loc("-":{{[0-9]+}}:8)
// LOCAL-NOT: #map
// LOCAL: features = affine_map<(d0, d1) -> (d1 * 2)>
func.func @main(%x: tensor<?x8xf32>) -> tensor<?x16xf32> {
  %0 = "anas.dense"(%x) {anas.name = "d", features = affine_map<(n, c) -> (c * 2)>} : (tensor<?x8xf32>) -> tensor<?x16xf32>
  %1 = "anas.relu"(%0) : (tensor<?x16xf32>) -> tensor<?x16xf32>
  return %1 : tensor<?x16xf32>
}
