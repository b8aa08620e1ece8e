// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The kernel stage: what anas-to-kernels produces and anas-to-llvm consumes.
//
// The module has attributes
//   anas.batch, anas.classes : i64;  anas.image = array<i64: H, W, C>
//   anas.arena_bytes, anas.params_bytes : i64
//   anas.tensors = [{name = "main/stem/conv/kernel", role = "param" | "state" | "optimizer", init = "lecun_normal",
//                    fan_in = 27 : i64, fan_out = 288 : i64, shape = array<i64: 3, 3, 3, 32>, offset = 0 : i64}, ...]
//   anas.io = {image = array<i64: offset, bytes>, label = ..., learning_rate = ..., seed = ..., loss = ..., correct =
//   ...,
//              logits = ...}                                   // offsets into the arena
// and functions
//   func.func @train_step(%arena: memref<Axi8>, %params: memref<Pxi8>)   // attribute anas.entry
//   func.func @infer(%arena: memref<Axi8>, %params: memref<Pxi8>)        // attribute anas.entry
//     bodies: arith.constant, memref.view into arena or params at a constant, func.call of kernel functions, in
//     execution order; programs hold them as lists of calls.
//     Consecutive calls with the same anas.group = array<i64: number, slabs> may be carried out in step: the first of
//     `slabs` equal parts of the first loop of every callee, then the second parts, and so on.
//   func.func private @k_<32 hex digits>(%0: memref<...>, ...)           // attributes anas.kernel = "<kind>",
//     body: linalg.fill of outputs, then exactly one linalg.generic        anas.flops : f64, anas.bytes : f64
//     indexing maps are linear in the loops, but for inputs with a border: (linear floordiv every) mod extent, and the
//     body takes zero where that is not the element the nest means (border.c);
//     operands are distinct buffers: inputs first, then outputs; a buffer that is both appears once, as an output.
//     The last input may be a shape operand, which bounds loops that no other operand bounds and is never read
//     (lowering.h). The kind of a fused kernel names its parts: "bias_add+relu_fwd".
// Kernel functions with equal text are one function; the name is the hash of the text without the name.
#ifndef ANAS_PASSES_LOWER_H
#define ANAS_PASSES_LOWER_H

#include "dialect/kernel.h"
#include "passes/train/optimizer.h"
#include "runtime/support/memory.h"

#include <mlir-c/IR.h>

// anas-train-step: architecture module to a module with @train_step and @infer in training ops. The optimizer is sgd.
anas_status anas_build_train_step(MlirModule module, int64_t batch, double momentum, double weight_decay);
enum anas_program_kind {
  ANAS_PROGRAM_TRAIN,
  ANAS_PROGRAM_INFER,   // @train_step is inference that returns its tensors as they are; there are no momenta
  ANAS_PROGRAM_SYNFLOW, // the loss is the sum of the logits; normalisations and dropout are the identity
  ANAS_PROGRAM_CODES,   // @train_step is a forward pass, its logits are K: K[i][j] says how many of the relus' results
                        // are positive, or are not, for both examples i and j, minus for how many they differ
};
extern const char *const anas_program_kind_names[]; // "train", ...; ends with null

struct anas_train_step_options {
  int64_t batch;
  struct anas_optimizer optimizer;
  enum anas_program_kind program;
};
anas_status anas_build_train_step_with(MlirModule module, const struct anas_train_step_options *options);
// anas-to-kernels: training ops to the kernel stage described above.
anas_status anas_lower_to_kernels(MlirModule module);

#endif
