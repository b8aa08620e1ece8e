// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A small module at the kernel stage, written by hand: logits = image * weight (per feature), loss = mean of the
// logits, weight -= rate * mean over the batch of the image (the gradient of the loss times the number of classes).
#ifndef ANAS_TEST_KERNEL_STAGE_H
#define ANAS_TEST_KERNEL_STAGE_H

#define STAGE_BATCH 4
#define STAGE_FEATURES 6

// Offsets into the arena.
#define STAGE_IMAGE 0
#define STAGE_LABEL 128
#define STAGE_RATE 192
#define STAGE_SEED 256
#define STAGE_LOSS 320
#define STAGE_CORRECT 384
#define STAGE_LOGITS 448

static const char stage_text[] =
    "module attributes {anas.batch = 4 : i64, anas.classes = 6 : i64, anas.image = array<i64: 1, 1, 6>,\n"
    "  anas.arena_bytes = 4096 : i64, anas.params_bytes = 64 : i64,\n"
    "  anas.tensors = [{name = \"main/scale/weight\", role = \"param\", init = \"ones\", fan_in = 1 : i64, fan_out = 1 "
    ": "
    "i64, shape = array<i64: 6>, offset = 0 : i64}],\n"
    "  anas.io = {image = array<i64: 0, 96>, label = array<i64: 128, 16>, learning_rate = array<i64: 192, 4>,\n"
    "    seed = array<i64: 256, 8>, loss = array<i64: 320, 4>, correct = array<i64: 384, 4>, logits = array<i64: 448, "
    "96>}} {\n"
    "func.func @train_step(%arena: memref<4096xi8>, %params: memref<64xi8>) attributes {anas.entry} {\n"
    "  %c0 = arith.constant 0 : index\n"
    "  %c192 = arith.constant 192 : index\n"
    "  %c320 = arith.constant 320 : index\n"
    "  %c448 = arith.constant 448 : index\n"
    "  %image = memref.view %arena[%c0][] : memref<4096xi8> to memref<4x6xf32>\n"
    "  %rate = memref.view %arena[%c192][] : memref<4096xi8> to memref<1xf32>\n"
    "  %loss = memref.view %arena[%c320][] : memref<4096xi8> to memref<1xf32>\n"
    "  %logits = memref.view %arena[%c448][] : memref<4096xi8> to memref<4x6xf32>\n"
    "  %weight = memref.view %params[%c0][] : memref<64xi8> to memref<6xf32>\n"
    "  call @k_scale(%image, %weight, %logits) : (memref<4x6xf32>, memref<6xf32>, memref<4x6xf32>) -> ()\n"
    "  call @k_mean(%logits, %loss) : (memref<4x6xf32>, memref<1xf32>) -> ()\n"
    "  call @k_update(%image, %rate, %weight) : (memref<4x6xf32>, memref<1xf32>, memref<6xf32>) -> ()\n"
    "  return\n"
    "}\n"
    "func.func @infer(%arena: memref<4096xi8>, %params: memref<64xi8>) attributes {anas.entry} {\n"
    "  %c0 = arith.constant 0 : index\n"
    "  %c448 = arith.constant 448 : index\n"
    "  %image = memref.view %arena[%c0][] : memref<4096xi8> to memref<4x6xf32>\n"
    "  %logits = memref.view %arena[%c448][] : memref<4096xi8> to memref<4x6xf32>\n"
    "  %weight = memref.view %params[%c0][] : memref<64xi8> to memref<6xf32>\n"
    "  call @k_scale(%image, %weight, %logits) : (memref<4x6xf32>, memref<6xf32>, memref<4x6xf32>) -> ()\n"
    "  return\n"
    "}\n"
    "func.func private @k_scale(%x: memref<4x6xf32>, %w: memref<6xf32>, %y: memref<4x6xf32>) attributes {anas.kernel = "
    "\"scale_fwd\", anas.flops = 2.400000e+01 : f64, anas.bytes = 2.160000e+02 : f64} {\n"
    "  linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d1)>, "
    "affine_map<(d0, d1) -> (d0, d1)>], iterator_types = [\"parallel\", \"parallel\"]}\n"
    "    ins(%x, %w : memref<4x6xf32>, memref<6xf32>) outs(%y : memref<4x6xf32>) {\n"
    "  ^bb0(%a: f32, %b: f32, %o: f32):\n"
    "    %p = arith.mulf %a, %b : f32\n"
    "    linalg.yield %p : f32\n"
    "  }\n"
    "  return\n"
    "}\n"
    "func.func private @k_mean(%x: memref<4x6xf32>, %y: memref<1xf32>) attributes {anas.kernel = \"mean_fwd\", "
    "anas.flops = 4.800000e+01 : f64, anas.bytes = 1.000000e+02 : f64} {\n"
    "  %zero = arith.constant 0.000000e+00 : f32\n"
    "  linalg.fill ins(%zero : f32) outs(%y : memref<1xf32>)\n"
    "  linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d1, d2)>, affine_map<(d0, d1, d2) -> (d0)>], "
    "iterator_types = [\"parallel\", \"reduction\", \"reduction\"]}\n"
    "    ins(%x : memref<4x6xf32>) outs(%y : memref<1xf32>) {\n"
    "  ^bb0(%a: f32, %o: f32):\n"
    "    %scale = arith.constant 2.400000e+01 : f32\n"
    "    %m = arith.divf %a, %scale : f32\n"
    "    %s = arith.addf %o, %m : f32\n"
    "    linalg.yield %s : f32\n"
    "  }\n"
    "  return\n"
    "}\n"
    "func.func private @k_update(%x: memref<4x6xf32>, %r: memref<1xf32>, %w: memref<6xf32>) attributes {anas.kernel = "
    "\"sgd\", anas.flops = 7.200000e+01 : f64, anas.bytes = 1.480000e+02 : f64} {\n"
    "  linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d1, d0)>, affine_map<(d0, d1) -> (0)>, "
    "affine_map<(d0, d1) -> (d0)>], iterator_types = [\"parallel\", \"reduction\"]}\n"
    "    ins(%x, %r : memref<4x6xf32>, memref<1xf32>) outs(%w : memref<6xf32>) {\n"
    "  ^bb0(%a: f32, %rate: f32, %o: f32):\n"
    "    %batch = arith.constant 4.000000e+00 : f32\n"
    "    %m = arith.divf %a, %batch : f32\n"
    "    %d = arith.mulf %m, %rate : f32\n"
    "    %s = arith.subf %o, %d : f32\n"
    "    linalg.yield %s : f32\n"
    "  }\n"
    "  return\n"
    "}\n"
    "}\n";

#endif
