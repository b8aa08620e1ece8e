// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Equations of two-operand contractions ("...qhd,...khd->...hqk") bound to the types of their operands. A label names a
// loop: result element y is the sum, over the labels that the result lacks, of the products of the operands' elements.
#ifndef ANAS_DIALECT_EQUATION_H
#define ANAS_DIALECT_EQUATION_H

#include "dialect/op.h"

#define ANAS_MAX_LABELS (3 * ANAS_MAX_RANK)

enum { ANAS_EQUATION_RESULT = 2 }; // term number; the operands are 0 and 1

struct anas_equation {
  int num_labels;
  char name[ANAS_MAX_LABELS];      // the letter
  int64_t extent[ANAS_MAX_LABELS]; // ANAS_DYNAMIC for the batch '?'
  int rank[3];
  int label[3][ANAS_MAX_RANK]; // label of every dimension
};

// Binds op's equation text to operands 0 and 1. An ellipsis stands for the dimensions that the labels beside it leave
// over, aligned from the last and broadcast: they get letters of their own, and a broadcast dimension (extent 1 against
// more) one that only it has. ANAS_INVALID names the label and the character of whatever is wrong.
// result: null, or the type of the result, which may then have labels that no operand has (the sum is repeated along
// them), as gradients do.
anas_status anas_equation_bind(const struct anas_op *op, const char *text, const struct anas_shape *result,
                               struct anas_equation *out);

// Position of a label in a term, -1 if the term lacks it.
int anas_equation_find(const struct anas_equation *equation, int term, int label);
struct anas_shape anas_equation_result(const struct anas_equation *equation);
// Products summed for one example: all labels but the first of the result, which is the batch.
int64_t anas_equation_macs(const struct anas_equation *equation);
// Dependencies of the result on an operand: a label that survives leads to its position, one that is summed to all.
void anas_equation_deps(const struct anas_equation *equation, int operand, struct anas_dep *out);
// "Aqhd,Akhd->Ahqk" for the terms in this order, e.g. 2, 1, 0 for the gradient of operand 0.
void anas_equation_text(const struct anas_equation *equation, int a, int b, int result, char out[ANAS_MAX_TEXT]);

#endif
