#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# anas-zoo as users run it, and its output in the stock mlir-opt with the generated IRDL.
set -eu
zoo=$(command -v anas-zoo)
irdl=$(dirname "$zoo")/../share/anas/anas.irdl.mlir
mlir_opt=${MLIR_OPT:-/usr/lib/llvm-22/bin/mlir-opt}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
  echo "FAIL: $*" >&2
  exit 1
}

# Every network of --list is accepted by mlir-opt, whose output reads back as the same network; anas-opt counts the
# parameters that --list shows.
"$zoo" --list | sed -n "2,/^$/p" | grep . >"$scratch/list"
[ "$(wc -l <"$scratch/list")" -ge 25 ] || fail "--list shows: $(cat "$scratch/list")"
while read -r name params input classes summary; do
  "$zoo" "$name" -o "$scratch/net.mlir"
  "$mlir_opt" --irdl-file="$irdl" "$scratch/net.mlir" -o "$scratch/once.mlir"
  anas-opt "$scratch/net.mlir" --anas-infer-shapes --anas-cost -o "$scratch/cost.mlir"
  anas-opt "$scratch/once.mlir" --anas-infer-shapes --anas-cost | cmp - "$scratch/cost.mlir"
  grep -q "anas.params = $params : i64" "$scratch/cost.mlir" || fail "$name has other than $params parameters"
  grep -q "func.func @main(%arg0: tensor<?x${input}xf32>) -> tensor<?x${classes}xf32>" "$scratch/net.mlir" ||
    fail "$name does not take $input images in $classes classes ($summary)"
done <"$scratch/list"

# Image size and classes reach the types.
"$zoo" cnn --input 28x28x1 --classes 7 | grep -q 'func.func @main(%arg0: tensor<?x28x28x1xf32>) -> tensor<?x7xf32>' ||
  fail "cnn --input 28x28x1 --classes 7 has the wrong type"

# mlir-opt refuses an op without its required attribute.
printf 'func.func @f(%%x: tensor<2x2xf32>) -> tensor<2x2xf32> {\n  %%0 = "anas.dense"(%%x) : (tensor<2x2xf32>) -> tensor<2x2xf32>\n  return %%0 : tensor<2x2xf32>\n}\n' >"$scratch/bad.mlir"
if "$mlir_opt" --irdl-file="$irdl" "$scratch/bad.mlir" >"$scratch/out" 2>"$scratch/err"; then
  fail "mlir-opt accepted a dense layer without features"
fi
grep -q features "$scratch/err" || fail "no word about features: $(cat "$scratch/err")"

# Errors: exit code 1, a message that names the problem, nothing written.
refuse() {
  expected=$1
  shift
  code=0
  "$zoo" "$@" -o "$scratch/nothing.mlir" >"$scratch/out" 2>"$scratch/err" || code=$?
  [ "$code" = 1 ] || fail "anas-zoo $* exited with $code"
  grep -q -- "$expected" "$scratch/err" || fail "anas-zoo $*: $(cat "$scratch/err")"
  [ ! -s "$scratch/out" ] && [ ! -e "$scratch/nothing.mlir" ] || fail "anas-zoo $* wrote something"
}
refuse "did you mean 'resnet18'" resnet81
refuse "which network" --classes 3
refuse "HxWxC" cnn --input 32x32
refuse "positive number" cnn --classes 0
refuse "too many" cnn resnet18
refuse "unknown option" cnn --frobnicate
refuse "avg_pool" cnn --input 2x2x3
refuse "multiples of 16" vit-s/16 --input 30x32x3
refuse "did you mean .vit-b/16" vit-b/61
