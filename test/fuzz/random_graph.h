// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Random well-typed modules over every architecture op of the op table. Attribute values come from the samples and the
// value sets of the table, so a new op takes part by being there.
#ifndef ANAS_TEST_FUZZ_RANDOM_GRAPH_H
#define ANAS_TEST_FUZZ_RANDOM_GRAPH_H

#include "dialect/model.h"
#include "runtime/support/rng.h"

#define GRAPH_LARGEST 1000 // most elements of a value that may be asked for

struct graph_source; // ops and their samples, parsed once
struct graph_source *graph_source_create(MlirContext context);
void graph_source_destroy(struct graph_source *source);

// A module with an entry function of up to max_ops ops, sometimes calling a block function. All extents are static; no
// value has more than max_elements elements.
struct anas_model *graph_random(const struct graph_source *source, struct anas_rng *rng, int max_ops, int max_elements);

// The same with '?' for the batch of every argument, if that is still well-typed; null if not.
struct anas_model *graph_with_dynamic_batch(const struct anas_model *model);

#endif
