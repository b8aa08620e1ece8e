// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The kernel stage of a small network, and that the stock lowering of MLIR takes it.
// RUN: anas-opt %s --pass-pipeline='builtin.module(anas-train-step{batch=4},anas-to-kernels)' -o %t.mlir
// RUN: FileCheck %s --input-file=%t.mlir
// RUN: %mlir_opt %t.mlir --pass-pipeline='builtin.module(func.func(convert-linalg-to-loops),convert-scf-to-cf,expand-strided-metadata,lower-affine,convert-math-to-llvm,convert-arith-to-llvm,convert-index-to-llvm,finalize-memref-to-llvm,convert-func-to-llvm,convert-cf-to-llvm,reconcile-unrealized-casts)' | FileCheck %s --check-prefix=LLVM
// RUN: anas-opt %s --pass-pipeline='builtin.module(anas-train-step{batch=4},anas-to-kernels)' | cmp %t.mlir -

// Inputs and results lie at the start of the arena, parameters before momenta, everything on 64-byte lines.
// CHECK: anas.arena_bytes = [[ARENA:[0-9]+]] : i64, anas.batch = 4 : i64, anas.classes = 3 : i64, anas.image = array<i64: 2, 2, 5>,
// CHECK-SAME: image = array<i64: 0, 320>, label = array<i64: 320, 16>
// CHECK-SAME: anas.params_bytes = [[PARAMS:[0-9]+]] : i64
// CHECK-SAME: name = "main/hidden/kernel", offset = 0 : i64, role = "param", shape = array<i64: 20, 7>}
// CHECK-SAME: name = "main/hidden/bias", offset = 576 : i64
// CHECK-SAME: name = "main/hidden/kernel:momentum", offset = 832 : i64, role = "optimizer"

// CHECK-LABEL: func.func @train_step(
// CHECK-SAME: %[[A:.*]]: memref<[[ARENA]]xi8>, %[[P:.*]]: memref<[[PARAMS]]xi8>) attributes {anas.entry}
// flatten is a view
// CHECK: %[[X:.*]] = memref.view %[[A]]{{.*}} : memref<[[ARENA]]xi8> to memref<4x20xf32>
// CHECK: %[[W:.*]] = memref.view %[[P]]{{.*}} to memref<20x7xf32>
// CHECK: %[[Y:.*]] = memref.view %[[A]]{{.*}} to memref<4x7xf32>
// CHECK: call @[[DENSE:k_[0-9a-f]*]](%[[X]], %[[W]], %[[Y]])
// bias and relu in one kernel, in place
// CHECK: %[[BIAS:.*]] = memref.view %[[P]]{{.*}} to memref<7xf32>
// CHECK: call @[[RELU:k_[0-9a-f]*]](%[[BIAS]], %[[Y]]) : (memref<7xf32>, memref<4x7xf32>) -> ()
// one launch of the optimizer
// CHECK: call @[[SGD:k_[0-9a-f]*]]({{.*}}) : (memref<[[N:[0-9]+]]xf32>, memref<1xf32>, memref<[[N]]xf32>, memref<[[N]]xf32>) -> ()
// CHECK-NEXT: return

// The memory plan: what lives at the peak, its largest temporaries first.
// RUN: anas-opt %s --anas-train-step=batch=4 --anas-to-kernels=memory-report=%t.json -o /dev/null
// RUN: FileCheck %s --input-file=%t.json --check-prefix=PLAN
// PLAN: {"params_bytes":{{[0-9]+}},"arena_bytes":[[ARENA:[0-9]+]],"steps":[{"step":"train_step","nests":{{[0-9]+}},"recomputed":0,
// PLAN-SAME: "arena_bytes":[[ARENA]],"live_bytes":{{[0-9]+}},"peak":{"nest":{{[0-9]+}},"kind":"{{[a-z_+]+}}"},
// PLAN-SAME: "largest":[{"bytes":{{[0-9]+}},"address":{{[0-9]+}},"first":{{[0-9]+}},"last":{{[0-9]+}},"kind":"{{[a-z_+]+}}","type":"memref<{{[0-9a-z]+}}>"}
// PLAN-SAME: {"step":"infer",

// Both entry functions use the same kernels.
// CHECK-LABEL: func.func @infer(
// CHECK: call @[[DENSE]](
// CHECK: call @[[RELU]](
// CHECK-NOT: call @[[SGD]](

// CHECK: func.func private @[[DENSE]](%{{.*}}: memref<4x20xf32>, %{{.*}}: memref<20x7xf32>, %[[OUT:.*]]: memref<4x7xf32>) attributes {anas.bytes = 9.920000e+02 : f64, anas.flops = 1.120000e+03 : f64, anas.kernel = "dense_fwd"}
// CHECK: linalg.fill ins(%{{.*}} : f32) outs(%[[OUT]] : memref<4x7xf32>)
// CHECK: linalg.generic
// CHECK-SAME: iterator_types = ["parallel", "parallel", "reduction"]
// CHECK: func.func private @[[RELU]]({{.*}}anas.kernel = "bias_add+relu_fwd"
// CHECK-NOT: linalg.fill
// CHECK: arith.addf
// CHECK: arith.maxnumf

// LLVM: llvm.func @train_step
// LLVM-NOT: unrealized_conversion_cast

func.func @main(%image: tensor<?x2x2x5xf32>) -> tensor<?x3xf32> {
  %0 = "anas.flatten"(%image) : (tensor<?x2x2x5xf32>) -> tensor<?x20xf32>
  %1 = "anas.dense"(%0) {anas.name = "hidden", features = 7 : i64} : (tensor<?x20xf32>) -> tensor<?x7xf32>
  %2 = "anas.relu"(%1) : (tensor<?x7xf32>) -> tensor<?x7xf32>
  %3 = "anas.dense"(%2) {anas.name = "head", features = 3 : i64} : (tensor<?x7xf32>) -> tensor<?x3xf32>
  return %3 : tensor<?x3xf32>
}
