// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: anas-opt %s --anas-train-step -split-input-file -verify-diagnostics

// expected-error@below {{'@main' must return (batch, classes) to be trained, but with a batch of 128 it returns tensor<128x4x4x3xf32>}}
func.func @main(%x: tensor<?x4x4x3xf32>) -> tensor<?x4x4x3xf32> {
  %0 = "anas.relu"(%x) : (tensor<?x4x4x3xf32>) -> tensor<?x4x4x3xf32>
  return %0 : tensor<?x4x4x3xf32>
}

// -----

// expected-error@below {{'@main' must take one tensor of images and return one of class scores to be trained; it takes 2 and returns 1}}
func.func @main(%x: tensor<?x6xf32>, %y: tensor<?x6xf32>) -> tensor<?x6xf32> {
  %0 = "anas.add"(%x, %y) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %0 : tensor<?x6xf32>
}

// -----

func.func @main(%x: tensor<?x6xf32>) -> tensor<?x6xf32> {
  %0 = call @f(%x) : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %1 = call @f(%0) : (tensor<?x6xf32>) -> tensor<?x6xf32>
  return %1 : tensor<?x6xf32>
}
func.func private @f(%x: tensor<?x6xf32>) -> tensor<?x6xf32> {
  // expected-error@below {{'anas.dense' would be the second op with the parameters 'f/d'}}
  %0 = "anas.dense"(%x) {anas.name = "d", features = 6 : i64} : (tensor<?x6xf32>) -> tensor<?x6xf32>
  return %0 : tensor<?x6xf32>
}
