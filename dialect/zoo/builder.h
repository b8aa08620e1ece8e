// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Building networks in code: values are references, attributes are written as text ("features=S:-1*2 kernel=3").
// The first failure sticks; the calls after it do nothing and anas_zoo_build reports it.
#ifndef ANAS_DIALECT_ZOO_BUILDER_H
#define ANAS_DIALECT_ZOO_BUILDER_H

#include "dialect/zoo.h"

struct zoo {
  struct anas_model *model;
  int function; // being built
  anas_status status;
};

// Starts a function of one argument and one result and returns its argument. type: null for a block, whose argument
// type comes from its call. block: kind of block, null for the entry. Functions may be begun while another is
// unfinished: zoo->function says which one is built.
struct anas_ref zoo_begin(struct zoo *zoo, const char *name, const char *block, const struct anas_shape *type);
void zoo_return(struct zoo *zoo, struct anas_ref result);

// Appends op "anas.<op>". name: path of its parameters, null if it has none. attrs: printf-style "key=value" words; DIM
// and DIMS values in the grammar of spec 1.5, INTS and DIMS separated by commas, initialisers without spaces.
__attribute__((format(printf, 5, 6))) struct anas_ref zoo_op(struct zoo *zoo, const char *op, const char *name,
                                                             struct anas_ref input, const char *attrs, ...);
__attribute__((format(printf, 5, 6))) struct anas_ref zoo_binary(struct zoo *zoo, const char *op, struct anas_ref a,
                                                                 struct anas_ref b, const char *attrs, ...);
struct anas_ref zoo_call(struct zoo *zoo, const char *function, struct anas_ref input);

// One list a family.
extern const struct anas_zoo_entry *const zoo_cnn[], *const zoo_resnet[]; // null-terminated
extern const struct anas_zoo_entry *const zoo_efficientnet[], *const zoo_vit[];

#endif
