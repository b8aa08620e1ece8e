#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# anas-bench: every command prints well-formed JSON lines with plausible figures, and reports bad input. Figures
# themselves are not tested: speed is for a quiet machine.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export TMPDIR="$scratch"

fail() {
  echo "FAIL: $*" >&2
  exit 1
}

# expect_error TEXT ARGUMENT...: exit code 1, nothing on standard output, TEXT on standard error.
expect_error() {
  text=$1
  shift
  code=0
  anas-bench "$@" >"$scratch/out" 2>"$scratch/err" || code=$?
  [ "$code" = 1 ] || fail "exit code $code instead of 1: anas-bench $*"
  grep -q -- "$text" "$scratch/err" || fail "'$text' is not in: $(cat "$scratch/err")"
  [ ! -s "$scratch/out" ] || fail "printed to standard output: anas-bench $*"
}

# expect FILE FILTER: jq's filter, over all lines of the file as one array, is true.
expect() {
  jq -e -s "$2" "$1" >/dev/null || fail "not so: $2 in: $(cat "$1")"
}

cat >"$scratch/small.mlir" <<'MLIR'
func.func @main(%image: tensor<?x9x9x3xf32>) -> tensor<?x5xf32> {
  %0 = "anas.conv"(%image) {anas.name = "a", features = 16 : i64, kernel = 3 : i64} : (tensor<?x9x9x3xf32>) -> tensor<?x9x9x16xf32>
  %1 = "anas.relu"(%0) : (tensor<?x9x9x16xf32>) -> tensor<?x9x9x16xf32>
  %2 = "anas.conv"(%1) {anas.name = "b", features = 24 : i64, kernel = 3 : i64, strides = 2 : i64, use_bias = false} : (tensor<?x9x9x16xf32>) -> tensor<?x5x5x24xf32>
  %3 = "anas.conv"(%2) {anas.name = "c", features = 24 : i64, kernel = 5 : i64, groups = 24 : i64} : (tensor<?x5x5x24xf32>) -> tensor<?x5x5x24xf32>
  %4 = "anas.flatten"(%3) : (tensor<?x5x5x24xf32>) -> tensor<?x600xf32>
  %5 = "anas.dense"(%4) {anas.name = "d", features = 5 : i64} : (tensor<?x600xf32>) -> tensor<?x5xf32>
  return %5 : tensor<?x5xf32>
}
MLIR
net=$scratch/small.mlir

# Layers: each convolution and product of the step once, in both directions, except the gradient of the image.
anas-bench kernels "$net" --batch 4 --seconds 0.01 --threads 2 >"$scratch/layers"
expect "$scratch/layers" '.[0] | .bench == "machine" and .peak_gflops_1 > 0 and .triad_gbytes > 0 and .threads == 2 and .load >= 0'
expect "$scratch/layers" '.[1] | .bench == "libraries" and has("oneDNN") and has("OpenBLAS")'
expect "$scratch/layers" '[.[] | select(.bench == "layer") | .kind] | sort == (["conv_fwd stem", "conv_bwd_filter stem",
  "conv_fwd strided", "conv_bwd_data strided", "conv_bwd_filter strided", "conv_fwd depthwise", "conv_bwd_data depthwise",
  "conv_bwd_filter depthwise", "dense_fwd", "dense_bwd_data", "dense_bwd_filter"] | sort)'
expect "$scratch/layers" '[.[] | select(.bench == "layer")] | all(.model == "small" and .ours.gflops_1 > 0 and .ours.gflops > 0)'
# 4 images, 25 positions, 24 features, 25 taps.
expect "$scratch/layers" '[.[] | select(.kind == "conv_fwd depthwise" and .bench == "layer") | .gflop * 1e9] == [120000]'
expect "$scratch/layers" '[.[] | select(.bench == "layer-summary") | .layers] | add == 11'
# Both libraries or neither: ratios and their source agree.
expect "$scratch/layers" '[.[] | select(.bench == "layer")] | all((.ratio_1 == null) == (has("onednn_direct") or has("openblas") | not))'
anas-bench kernels "$net" --batch 4 --seconds 0 --cold --filter dense_fwd >"$scratch/one"
expect "$scratch/one" '[.[] | select(.bench == "layer")] | length == 1 and .[0].layer == "4x5x600"'

# Kernel functions of the step.
anas-bench kernels --functions "$net" --batch 4 >"$scratch/functions"
expect "$scratch/functions" '[.[1:][] | .bench] | length > 10 and all(. == "function")'
expect "$scratch/functions" '.[1:] | any(.kind == "conv_fwd" and .gflops_1 > 0 and .gbytes_1 > 0 and .peak_1 > 0 and .calls == 1)'

# A whole step.
anas-bench model "$net" --batch 4 --steps 3 >"$scratch/model"
expect "$scratch/model" '.[1] | .bench == "model" and .images_per_second > 0 and .functions == .cache_hits
  and .compile_seconds_cold > 0 and .compile_seconds_warm > 0 and .images_per_second_with_data == null
  and .planned_bytes == .arena_bytes + .params_bytes and .process_peak_bytes > .arena_bytes_touched
  and .arena_bytes_touched <= .arena_bytes and .arena_bytes_touched > 0'
anas-zoo cnn --input 28x28x1 --classes 10 -o "$scratch/cnn.mlir"
anas-bench model "$scratch/cnn.mlir" --batch 8 --steps 2 --dataset fashion-mnist >"$scratch/data"
expect "$scratch/data" '.[1].images_per_second_with_data > 0'

# The team, and children.
anas-bench threads >"$scratch/threads"
expect "$scratch/threads" '.[1] | .bench == "threads" and .share_us > 0 and .empty_us > 0 and .fork_join_p10_us <= .fork_join_p90_us
  and .shares_taken_by_others >= 0 and .shares_taken_by_others <= 1'
anas-bench child resnet18 --input 8x8x3 --classes 10 --batch 2 --children 3 --seed 1 >"$scratch/child"
expect "$scratch/child" '.[-1] | .bench == "child-summary" and .children + .infeasible == 3 and .cache_hit_rate > 0.5
  and .median_ms <= .p90_ms'
expect "$scratch/child" '[.[] | select(.bench == "child")] | all(.functions >= .new_functions and .ms > 0)'
[ -z "$(find "$scratch" -name 'anas-bench-*')" ] || fail "left behind: $(ls "$scratch")"

anas-bench --help | grep -q "kernels MODEL" || fail "no help"
expect_error "no command given"
expect_error "did you mean 'kernels'" kernel cnn
expect_error "takes a file or a name" kernels
expect_error "did you mean 'resnet18'" kernels resnet19
expect_error "no setting 'nonsense'" child "$net" --mutation nonsense=1
expect_error "HxWxC" kernels cnn --input 32x32
expect_error "is about anas-bench kernels" model cnn --cold
expect_error "takes no network" threads cnn
expect_error "one parent at a time" child cnn resnet18
expect_error "not with --no-cache" kernels cnn --tune --no-cache
expect_error "add --dataset" model cnn --data /tmp
printf 'func.func @main(' >"$scratch/broken.mlir"
expect_error "broken.mlir:1" kernels "$scratch/broken.mlir"
code=0
anas-bench kernels "$net" --filter nothing --batch 2 >"$scratch/out" 2>"$scratch/err" || code=$?
[ "$code" = 1 ] && grep -q "none of the 11 layers has 'nothing'" "$scratch/err" || fail "--filter nothing: $code"
