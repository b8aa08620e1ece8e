// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A kernel function becomes an internal body with bare pointers, a range function for the thread team, and a function
// under the kernel's name; callers in the same module keep calling that name.
// RUN: anas-opt %s --anas-to-llvm | FileCheck %s --check-prefixes=CHECK,TUNED
// RUN: anas-opt %s --anas-to-llvm=reference=true | FileCheck %s --check-prefixes=CHECK,REFERENCE
// RUN: anas-opt %s --anas-to-llvm | mlir-translate --mlir-to-llvmir | FileCheck %s --check-prefix=LLVMIR
// RUN: anas-opt %s '--anas-to-llvm=target=cuda stage=gpu' | FileCheck %s --check-prefixes=CUDA,GPU
// RUN: anas-opt %s --anas-to-llvm=target=cuda | FileCheck %s --check-prefixes=CUDA,NVVM
// RUN: anas-opt %s '--anas-to-llvm=target=cuda stage=ptx chip=sm_80' | FileCheck %s --check-prefix=PTX
// RUN: not anas-opt %s '--anas-to-llvm=target=cuda chip=sm_1' 2>&1 | FileCheck %s --check-prefix=CHIP
// RUN: not anas-opt %s --anas-to-llvm=target=abacus 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: not anas-opt %s --anas-to-llvm=cpu=not-a-processor 2>&1 | FileCheck %s --check-prefix=PROCESSOR

// CHECK-LABEL: llvm.func @infer(
// CHECK-SAME: !llvm.ptr, %{{.*}}: !llvm.ptr)
// CHECK: llvm.call @k_add({{.*}}) : (!llvm.ptr, !llvm.ptr, !llvm.ptr) -> ()
// TUNED: llvm.func internal @k_add_body(%{{.*}}: !llvm.ptr {llvm.noalias}, %{{.*}}: !llvm.ptr {llvm.noalias}, %{{.*}}: !llvm.ptr {llvm.noalias}, %{{.*}}: i64, %{{.*}}: i64)
// REFERENCE: llvm.func internal @k_add_body(%{{.*}}: !llvm.ptr {llvm.noalias}, %{{.*}}: !llvm.ptr {llvm.noalias}, %{{.*}}: !llvm.ptr {llvm.noalias})
// CHECK-NOT: llvm.func{{.*}}@k_add({{.*}}){{.*}}sym_visibility
// CHECK: llvm.func @anas_launch(!llvm.ptr, !llvm.ptr, i32, i64, i64, i32)
// CHECK-LABEL: llvm.func @k_add_range(
// CHECK-SAME: !llvm.ptr, %[[BEGIN:.*]]: i64, %[[END:.*]]: i64)
// CHECK-COUNT-3: llvm.load {{.*}} : !llvm.ptr -> !llvm.ptr
// TUNED: llvm.call @k_add_body(%{{.*}}, %{{.*}}, %{{.*}}, %[[BEGIN]], %[[END]])
// REFERENCE: llvm.call @k_add_body(%{{.*}}, %{{.*}}, %{{.*}}) :
// CHECK-LABEL: llvm.func @k_add(
// CHECK-COUNT-3: llvm.store {{.*}} : !llvm.ptr, !llvm.ptr
// CHECK-DAG: llvm.mlir.addressof @k_add_range : !llvm.ptr
// REFERENCE-DAG: llvm.mlir.constant(1 : i64) : i64
// REFERENCE-DAG: llvm.mlir.constant(0 : i32) : i32
// CHECK: llvm.call @anas_launch(

// LLVMIR-DAG: define void @infer(ptr %0, ptr %1)
// LLVMIR-DAG: define internal void @k_add_body(
// LLVMIR-DAG: define void @k_add_range(ptr %0, i64 %1, i64 %2)
// LLVMIR-DAG: define void @k_add(ptr %0, ptr %1, ptr %2)
// LLVMIR-DAG: declare void @anas_launch(ptr, ptr, i32, i64, i64, i32)

// CUDA-LABEL: func.func @infer(
// CUDA: call @k_add(
// CUDA: func.func private @k_add(memref<
// CUDA-SAME: anas.launches = ["k_add<<<1x1x1, 256>>>(0, 1, 2)"]
// CUDA: gpu.module @k_add_gpu
// GPU: gpu.func @k_add({{.*}}llvm.noalias{{.*}}) kernel attributes {known_block_size = array<i32: 256, 1, 1>}
// GPU: gpu.thread_id x
// GPU: gpu.return
// NVVM: llvm.func @k_add({{.*}}nvvm.kernel
// NVVM: nvvm.read.ptx.sreg.tid.x
// PTX: anas.ptx = "{{.*}}.target sm_80{{.*}}.visible .entry k_add(
// CHIP: error: {{.*}}unknown chip 'sm_1'; known are
// TARGET: error: {{.*}}unknown target 'abacus', expected cpu or cuda
// PROCESSOR: error: {{.*}}not-a-processor

#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @infer(%arena: memref<1536xi8>, %params: memref<64xi8>) attributes {anas.entry} {
  %c0 = arith.constant 0 : index
  %c512 = arith.constant 512 : index
  %c1024 = arith.constant 1024 : index
  %a = memref.view %arena[%c0][] : memref<1536xi8> to memref<8x16xf32>
  %b = memref.view %arena[%c512][] : memref<1536xi8> to memref<8x16xf32>
  %c = memref.view %arena[%c1024][] : memref<1536xi8> to memref<8x16xf32>
  call @k_add(%a, %b, %c) : (memref<8x16xf32>, memref<8x16xf32>, memref<8x16xf32>) -> ()
  return
}
func.func private @k_add(%a: memref<8x16xf32>, %b: memref<8x16xf32>, %c: memref<8x16xf32>) attributes {anas.kernel = "add_fwd", anas.flops = 128.0 : f64, anas.bytes = 1536.0 : f64} {
  linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]}
    ins(%a, %b : memref<8x16xf32>, memref<8x16xf32>) outs(%c : memref<8x16xf32>) {
  ^bb0(%x: f32, %y: f32, %o: f32):
    %s = arith.addf %x, %y : f32
    linalg.yield %s : f32
  }
  return
}
