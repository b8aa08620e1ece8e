// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The training step of a network with a block, a residual sum and batch normalisation.
// RUN: anas-opt %s --pass-pipeline='builtin.module(anas-train-step{batch=4 momentum=0.8 weight-decay=1e-3})' | FileCheck %s
// The result is a module that other tools read.
// RUN: anas-opt %s --pass-pipeline='builtin.module(anas-train-step{batch=4})' | anas-opt | FileCheck %s --check-prefix=AGAIN

// CHECK: module attributes {anas.batch = 4 : i64, anas.classes = 3 : i64, anas.image = array<i64: 8, 8, 2>}
// CHECK-LABEL: func.func @train_step(
// CHECK-SAME: %[[K:[a-z0-9]+]]: tensor<3x3x2x2xf32> {anas.fan_in = 18 : i64, anas.fan_out = 18 : i64, anas.init = "lecun_normal", anas.param = "res/conv/kernel"}
// CHECK-SAME: %[[SCALE:[a-z0-9]+]]: tensor<2xf32> {{{.*}}anas.param = "res/bn/scale"}
// CHECK-SAME: %[[HEAD:[a-z0-9]+]]: tensor<2x3xf32> {{{.*}}anas.param = "main/head/kernel"}
// CHECK-SAME: %[[KM:[a-z0-9]+]]: tensor<3x3x2x2xf32> {{{.*}}anas.init = "zeros", anas.param = "res/conv/kernel:momentum", anas.state = "momentum"}
// CHECK-SAME: anas.state = "statistic"}
// CHECK-SAME: %[[IMAGE:[a-z0-9]+]]: tensor<4x8x8x2xf32> {anas.io = "image"}, %[[LABEL:[a-z0-9]+]]: tensor<4xi32> {anas.io = "label"}, %[[LR:[a-z0-9]+]]: tensor<1xf32> {anas.io = "learning_rate"}, %{{[a-z0-9]+}}: tensor<1xi64> {anas.io = "seed"})
// CHECK-SAME: tensor<1xf32> {anas.io = "loss"}, tensor<1xi32> {anas.io = "correct"}, tensor<4x3xf32> {anas.io = "logits"})
// CHECK: %[[C:.*]] = "anas.conv_fwd"(%[[IMAGE]], %[[K]])
// CHECK: %[[STATS:.*]]:4 = "anas.batch_norm_stats"(%[[C]],
// CHECK: %[[B:.*]] = "anas.batch_norm_fwd"(%[[C]], %[[STATS]]#0, %[[STATS]]#1, %[[SCALE]],
// CHECK: %[[S:.*]] = "anas.add_fwd"(%[[B]], %[[IMAGE]])
// CHECK: %[[LOSS:.*]]:3 = "anas.softmax_cross_entropy"(%[[LOGITS:.*]], %[[LABEL]])
// CHECK: "anas.dense_bwd_data"(%[[LOSS]]#2, %[[HEAD]])
// The image needs no gradient: neither the convolution nor the sum computes one for it.
// CHECK-NOT: "anas.conv_bwd_data"
// CHECK: %[[DK:.*]] = "anas.conv_bwd_filter"(%[[IMAGE]],
// CHECK: %[[NEW:.*]]:2 = "anas.sgd"(%[[K]], %[[KM]], %[[DK]], %[[LR]]) {momentum = 8.000000e-01 : f64, weight_decay = 1.000000e-03 : f64}
// CHECK: return %[[NEW]]#0, {{.*}}%[[STATS]]#2, %[[STATS]]#3, %[[LOSS]]#0, %[[LOSS]]#1, %[[LOGITS]] :

// Inference normalises with the running statistics and has no optimizer state.
// CHECK-LABEL: func.func @infer(
// CHECK-NOT: momentum
// CHECK: "anas.batch_norm_infer"
// CHECK-NOT: bwd
// CHECK: return %{{.*}} : tensor<1xf32>, tensor<1xi32>, tensor<4x3xf32>

// AGAIN: func.func @train_step(

func.func @main(%image: tensor<?x8x8x2xf32>) -> tensor<?x3xf32> {
  %0 = call @res(%image) : (tensor<?x8x8x2xf32>) -> tensor<?x8x8x2xf32>
  %1 = "anas.mean"(%0) {axes = array<i64: 1, 2>} : (tensor<?x8x8x2xf32>) -> tensor<?x2xf32>
  %2 = "anas.dense"(%1) {anas.name = "head", features = 3 : i64} : (tensor<?x2xf32>) -> tensor<?x3xf32>
  return %2 : tensor<?x3xf32>
}
func.func private @res(%x: tensor<?x8x8x2xf32>) -> tensor<?x8x8x2xf32> attributes {anas.block = "res"} {
  %0 = "anas.conv"(%x) {anas.name = "conv", features = 2 : i64, kernel = array<i64: 3, 3>, use_bias = false} : (tensor<?x8x8x2xf32>) -> tensor<?x8x8x2xf32>
  %1 = "anas.batch_norm"(%0) {anas.name = "bn"} : (tensor<?x8x8x2xf32>) -> tensor<?x8x8x2xf32>
  %2 = "anas.add"(%1, %x) : (tensor<?x8x8x2xf32>, tensor<?x8x8x2xf32>) -> tensor<?x8x8x2xf32>
  return %2 : tensor<?x8x8x2xf32>
}
