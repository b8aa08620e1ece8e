// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// CPU code: one kernel function (linalg on static memrefs) to one object file.
#ifndef ANAS_PASSES_CPU_H
#define ANAS_PASSES_CPU_H

#include "runtime/program.h"

#include <mlir-c/IR.h>

// 3x3 convolutions by Winograd's algorithm: nowhere, where it is expected to be faster, wherever it is possible
// (tests).
enum anas_winograd { ANAS_WINOGRAD_OFF, ANAS_WINOGRAD_AUTO, ANAS_WINOGRAD_ALWAYS };

// Contractions on operands rounded to bf16, with sums in f32: nowhere, where it is expected to be faster, wherever it
// is possible.
enum anas_bf16 { ANAS_BF16_OFF, ANAS_BF16_AUTO, ANAS_BF16_ALWAYS };

// How a contraction is to be computed where it is not what the cost model says: what --tune varies. Zero: the model's.
struct anas_cpu_choice {
  int vectors;         // of a register tile
  double panel, chunk; // factors of the cache sizes that bound reduction blocks and chunks of rows
  int columns;         // 1: outside the rows, -1: inside
  bool no_stream;      // reduction blocks stay inside the range
  bool direct;         // not Winograd's algorithm
};

struct anas_cpu_target {
  const char *cpu, *features; // LLVM names; owned by whoever filled them
  int lanes;                  // f32 lanes of a vector register: 16, 8 or 4
  int registers;              // vector registers: 32 or 16
  double bf16_speed;          // multiplications of bf16 (AVX512_BF16), as a multiple of those of f32; 0: none
  enum anas_winograd winograd;
  enum anas_bf16 bf16;
  struct anas_cpu_choice choice;
};
// Describes the host, or the named processor.
anas_status anas_cpu_target_init(const char *cpu, struct anas_cpu_target *out);
// Value of a tool's option for a processor: "native" (the host, *out is null) or a name for anas_cpu_target_init. runs:
// this machine shall run the code, which it must have the vectors for. Errors start with the option's name.
anas_status anas_cpu_parse(const char *option, const char *text, bool runs, const char **out);
// Value of a tool's option for the precision of contractions: "f32", "bf16" or "bf16-always", null: f32.
// ANAS_UNSUPPORTED names the processor and what it lacks.
anas_status anas_cpu_target_set_precision(struct anas_cpu_target *target, const char *precision);
void anas_cpu_target_deinit(struct anas_cpu_target *target);

// Rewrites the body of every kernel function of the module (private, attribute anas.kernel) from linalg to vector, scf
// and memref: contractions with register tiles, everything else vectorised. The function becomes
//   func @k(operands..., %begin: index, %end: index)
// over a range of its outermost parallel loop and carries anas.range = iterations, anas.parallel = i1,
//   anas.leading = i64 (struct anas_cpu_range).
// A kernel may take several loops, each over its own range and all of its iterations before the next one starts:
// further functions @k_part<n> with the same arguments and anas.part follow @k. A kernel that needs memory beside its
// operands carries anas.scratch = bytes; then the last memref of all its parts is that memory.
anas_status anas_cpu_codegen(MlirModule module, const struct anas_cpu_target *target);

// Lowers a module that holds kernel functions after anas_cpu_codegen, or entry functions, to the LLVM dialect, adding
// to every kernel k the two functions the runtime needs: k_range(operands, begin, end) and k(operands...), which calls
// anas_launch (runtime/group.h). Entry functions take (arena, params) as bare pointers.
anas_status anas_cpu_to_llvm(MlirModule module);
// The stock lowering of the same kernel functions (linalg to loops), with the same symbols: the reference of the tests.
anas_status anas_cpu_reference_to_llvm(MlirModule module);

// LLVM-dialect module to a relocatable object. The largest anas.scratch of its kernels is the object's scratch_bytes,
// anas.items its items.
anas_status anas_cpu_emit_object(MlirModule llvm_module, const struct anas_cpu_target *target,
                                 struct anas_object *out_object);

// All of these steps for kernel functions of one context, one after the other: what a step needs is set up once. The
// target must outlive the compiler.
struct anas_cpu_compiler;
struct anas_cpu_seconds { // of processor time
  double codegen, lowering, llvm;
};
anas_status anas_cpu_compiler_create(MlirContext context, const struct anas_cpu_target *target, bool reference,
                                     struct anas_cpu_compiler **out);
void anas_cpu_compiler_destroy(struct anas_cpu_compiler *compiler);
// kernel: a module of one kernel function, which is used up.
anas_status anas_cpu_compile(struct anas_cpu_compiler *compiler, MlirModule kernel,
                             const struct anas_cpu_choice *choice, struct anas_object *out_object,
                             struct anas_cpu_seconds *out_seconds);

#endif
