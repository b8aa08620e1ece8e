// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What can be a target of a chain: one input and one output of the same rank (cases A7.1, A7.2).
// RUN: anas-opt %s -split-input-file --anas-synthesize=seed=1 -verify-diagnostics
// RUN: not anas-opt %s -split-input-file --anas-synthesize=method=primer 2>&1 | FileCheck %s --check-prefix=PRIMER

// Convolution and gelu, the convolution read by nothing else: succeeds.
func.func @rewired(%x: tensor<?x16x16x64xf32>) -> tensor<?x16x16x64xf32> attributes {anas.target_depth = 1 : i64} {
  %0 = "anas.conv"(%x) {anas.name = "conv", features = 64 : i64, kernel = 1 : i64} : (tensor<?x16x16x64xf32>) -> tensor<?x16x16x64xf32>
  %1 = "anas.gelu"(%0) : (tensor<?x16x16x64xf32>) -> tensor<?x16x16x64xf32>
  return %1 : tensor<?x16x16x64xf32>
}

// -----

// expected-error@+1 {{function '@both' carries synthesis targets but has 1 arguments and 2 results; a chain has exactly one input and exactly one output}}
func.func @both(%x: tensor<?x16x16x64xf32>) -> (tensor<?x16x16x64xf32>, tensor<?x16x16x64xf32>) attributes {anas.target_depth = 1 : i64} {
  %0 = "anas.conv"(%x) {anas.name = "conv", features = 64 : i64, kernel = 1 : i64} : (tensor<?x16x16x64xf32>) -> tensor<?x16x16x64xf32>
  %1 = "anas.gelu"(%0) : (tensor<?x16x16x64xf32>) -> tensor<?x16x16x64xf32>
  return %0, %1 : tensor<?x16x16x64xf32>, tensor<?x16x16x64xf32>
}

// -----

// expected-error@+1 {{function '@two' carries synthesis targets but has 2 arguments and 1 results}}
func.func @two(%x: tensor<?x8xf32>, %y: tensor<?x8xf32>) -> tensor<?x8xf32> attributes {anas.target_depth = 1 : i64} {
  %0 = "anas.add"(%x, %y) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

// expected-error@+1 {{no chain leads from tensor<?x8x8x4xf32> to tensor<?x256xf32>}}
func.func @flat(%x: tensor<?x8x8x4xf32>) -> tensor<?x256xf32> attributes {anas.target_depth = 1 : i64} {
  %0 = "anas.flatten"(%x) : (tensor<?x8x8x4xf32>) -> tensor<?x256xf32>
  return %0 : tensor<?x256xf32>
}

// -----

// Contexts with different ratios of features: 2 and 4. No one op serves both, two do not either.
// expected-error@+1 {{synthesis of '@a': no chain of at most 8 ops was found}}
func.func private @a(%x: tensor<?x8xf32>) -> tensor<?x16xf32> attributes {anas.block = "k", anas.target_depth = 1 : i64} {
  %0 = "anas.dense"(%x) {anas.name = "d", features = 16 : i64} : (tensor<?x8xf32>) -> tensor<?x16xf32>
  return %0 : tensor<?x16xf32>
}
func.func private @b(%x: tensor<?x8xf32>) -> tensor<?x32xf32> attributes {anas.block = "k", anas.target_depth = 1 : i64} {
  %0 = "anas.dense"(%x) {anas.name = "d", features = 32 : i64} : (tensor<?x8xf32>) -> tensor<?x32xf32>
  return %0 : tensor<?x32xf32>
}

// -----

// PRIMER: error: synthesis of '@residual': the body is not a chain of ops that each read the one before
func.func @residual(%x: tensor<?x8xf32>) -> tensor<?x8xf32> attributes {anas.target_depth = 1 : i64} {
  %0 = "anas.relu"(%x) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %1 = "anas.add"(%x, %0) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %1 : tensor<?x8xf32>
}
