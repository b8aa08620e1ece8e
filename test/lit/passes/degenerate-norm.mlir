// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A value that is normalised by itself is lost: such an op is refused, and so is never a result of a mutation.
// RUN: anas-opt %s -split-input-file --anas-infer-shapes -verify-diagnostics

func.func @layer(%x: tensor<?x4x4x1xf32>) -> tensor<?x4x4x1xf32> {
  // expected-error@below {{'anas.layer_norm' would normalise every value of tensor<?x4x4x1xf32> by itself}}
  %0 = "anas.layer_norm"(%x) {anas.name = "norm"} : (tensor<?x4x4x1xf32>) -> tensor<?x4x4x1xf32>
  return %0 : tensor<?x4x4x1xf32>
}

// -----

func.func @group(%x: tensor<?x1x1x8xf32>) -> tensor<?x1x1x8xf32> {
  // expected-error@below {{'anas.group_norm' would normalise every value of tensor<?x1x1x8xf32> by itself}}
  %0 = "anas.group_norm"(%x) {anas.name = "norm", num_groups = 8 : i64} : (tensor<?x1x1x8xf32>) -> tensor<?x1x1x8xf32>
  return %0 : tensor<?x1x1x8xf32>
}

// -----

// One channel a group is enough where there are several positions.
func.func @positions(%x: tensor<?x2x1x8xf32>) -> tensor<?x2x1x8xf32> {
  %0 = "anas.group_norm"(%x) {anas.name = "norm", num_groups = 8 : i64} : (tensor<?x2x1x8xf32>) -> tensor<?x2x1x8xf32>
  return %0 : tensor<?x2x1x8xf32>
}
