// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One entry function on its way to the kernel stage: read into nests and buffers, fused, planned, printed.
#ifndef ANAS_PASSES_STEP_H
#define ANAS_PASSES_STEP_H

#include "passes/lower/lowering.h"

#include <mlir-c/IR.h>

#define ANAS_ALIGNMENT 64 // bytes: every tensor starts at a multiple and owns its last line

static inline int64_t anas_align(int64_t bytes) {
  return (bytes + ANAS_ALIGNMENT - 1) / ANAS_ALIGNMENT * ANAS_ALIGNMENT;
}

// Inputs and results of a step, at fixed addresses at the start of the arena.
enum anas_io {
  ANAS_IO_IMAGE,
  ANAS_IO_LABEL,
  ANAS_IO_LEARNING_RATE,
  ANAS_IO_SEED,
  ANAS_IO_LOSS,
  ANAS_IO_CORRECT,
  ANAS_IO_LOGITS,
  ANAS_NUM_IO
};
extern const char *const anas_io_names[ANAS_NUM_IO]; // as in anas.io of arguments and results, and of the module

struct anas_step_tensor {         // in the parameter buffer, in the order of the arguments of @train_step
  const char *name, *init, *role; // role: "param", "optimizer", "state"
  int64_t fan_in, fan_out;
  struct anas_shape shape;
  int64_t offset;
};

// What both entry functions share.
struct anas_layout {
  struct anas_step_tensor *tensors;
  int num_tensors;
  int64_t params_bytes;
  struct anas_shape io_shape[ANAS_NUM_IO]; // rank 0: the step has none
  int64_t io_offset[ANAS_NUM_IO], io_bytes[ANAS_NUM_IO];
  int64_t io_end; // temporaries start here
  struct anas_arena arena;
};

// Nests first..last are carried out slab by slab (group.c); one alone has one slab.
struct anas_step_group {
  int first, last;
  int64_t slabs;
};

struct anas_step {
  struct anas_lowering *lowering;
  const struct anas_op_def **op_defs; // per op number (lowering->nest_op)
  size_t capacity_op_defs;
  int params; // buffer handle of the whole parameter buffer
  int io[ANAS_NUM_IO];
  struct anas_step_group *groups; // per nest, filled by anas_step_group; null: none
  // Filled by anas_step_plan.
  int64_t arena_bytes;
  int64_t
      live_bytes; // no plan needs less: the most that lives at one time, inputs, results and shape operands included
  int peak;       // the nest during which so much lives
  int recomputed; // nests that compute again what was computed before
  int64_t shape_bytes, shape_address; // storage of shape operands (lowering.h)
  int *first_use, *last_use;          // per buffer with own storage: nests that touch it; -1: none
};

// Reads argument and result attributes of @train_step.
anas_status anas_layout_read(MlirOperation train_step, struct anas_layout *out);
void anas_layout_deinit(struct anas_layout *layout);

// Lowers every training op of a function. Failures are emitted at the op. Results that are not yet where the layout
// wants them are moved there: their buffer becomes that place if nobody reads the old value any more, else a copy is
// appended.
anas_status anas_step_read(MlirOperation function, const struct anas_layout *layout, struct anas_step *out);
void anas_step_deinit(struct anas_step *step);

// Each of these keeps the values of parameters, state and results.
void anas_step_remove_dead(struct anas_step *step);
// Elementwise nests move into the nests that read them (fuse.c).
void anas_step_fuse(struct anas_step *step);
// Nests of horizontal ops over neighbouring tensors become one, which ends after update_bytes, or after a few MiB if
// that is 0 (horizontal.c).
anas_status anas_step_merge_horizontal(struct anas_step *step, int64_t update_bytes, bool pieces);
// Length of the first piece of so many elements.
int64_t anas_update_piece(int64_t elements);
// Values are computed again instead of kept until at most `limit` bytes live at one time, inputs and results included,
// or nothing more can be gained (recompute.c). Before anas_step_reuse_in_place. Counts nests in step->recomputed.
anas_status anas_step_recompute(struct anas_step *step, const struct anas_layout *layout, int64_t limit);
// Outputs take over the storage of an input that dies in the same nest and is read where the output is written.
void anas_step_reuse_in_place(struct anas_step *step);
// Finds nests to be carried out in step and moves them next to each other. The nests must not change afterwards.
// group_bytes: see struct anas_lower_options.
void anas_step_group(struct anas_step *step, int64_t group_bytes);
// Gives every temporary its address (plan.c). ANAS_INTERNAL if a nest reads what nobody has written.
anas_status anas_step_plan(struct anas_step *step, const struct anas_layout *layout);
// The first half of the plan: first_use, last_use, live_bytes, peak.
anas_status anas_step_find_lives(struct anas_step *step, const struct anas_layout *layout);
// Whether a buffer is a temporary that some nest touches, with storage of its own (after anas_step_find_lives).
bool anas_step_is_temporary(const struct anas_step *step, int buffer);
// The plan of a step as a JSON object (plan_report.c).
void anas_step_report(const struct anas_step *step, const struct anas_layout *layout, const char *name,
                      struct anas_strbuf *out);

// Appends result[] = source[] (same element type and count of bytes); returns the nest's number.
int anas_step_append_copy(struct anas_step *step, int source, int result);

// Accesses of a nest as one list: inputs, then outputs.
static inline int anas_nest_num_accesses(const struct anas_nest *nest) {
  return nest->num_in + nest->num_out;
}
static inline const struct anas_access *anas_nest_access(const struct anas_nest *nest, int i) {
  return i < nest->num_in ? &nest->in[i] : &nest->out[i - nest->num_in];
}

// Nests that touch a storage (touches.c). An entry may outlive what it says: ask the nest. Lists are read in place, up
// and down, between two ends with nests -1 and INT_MAX; adding to the list of a storage moves it.
struct anas_touch {
  int nest;
  bool writes;
};
struct anas_touches {            // {0} before the first anas_touches_init
  struct anas_touch_list *lists; // per buffer with own storage
  int num_lists;
  size_t capacity_lists;
};
void anas_touches_init(struct anas_touches *touches, const struct anas_lowering *l); // or makes anew
void anas_touches_deinit(struct anas_touches *touches);
void anas_touches_add(struct anas_touches *touches, int storage, int nest, bool writes);
void anas_touches_add_nest(struct anas_touches *touches, const struct anas_lowering *l, int n);
void anas_touches_merge(struct anas_touches *touches, int from, int into); // storage `from` becomes part of `into`
const struct anas_touch *anas_touches_after(const struct anas_touches *touches, int storage, int n);  // the first
const struct anas_touch *anas_touches_before(const struct anas_touches *touches, int storage, int n); // the last

bool anas_nest_reads(const struct anas_lowering *l, const struct anas_nest *nest, int buffer); // some byte of buffer
bool anas_nest_writes(const struct anas_lowering *l, const struct anas_nest *nest, int buffer);

// Which transformations run; tests compare steps with and without them.
struct anas_lower_options {
  bool no_fusion, no_merging, no_reuse, no_groups;
  bool update_pieces;         // optimizer launches of lengths that other networks have, too
  int64_t update_bytes;       // of gradients an optimizer launch takes at least; 0: a few MiB
  int64_t memory_limit;       // bytes of arena and parameters; 0: none. ANAS_NO_MEMORY if the step cannot fit
  int64_t group_bytes;        // of a buffer that nests of a group share, at least; 0: what a cache would not keep
  struct anas_strbuf *report; // gets the memory plan as JSON; null: not wanted
};
anas_status anas_lower_to_kernels_with(MlirModule module, const struct anas_lower_options *options);

#endif
