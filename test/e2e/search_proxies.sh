#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Proxies in a real search: recorded, as an objective, as a filter before training, and where a network has none.
set -eu
rm -rf ./*
net() { # net OP: a network whose only non-linear op is OP
  cat <<EOF2
func.func @main(%x: tensor<?x28x28x1xf32>) -> tensor<?x10xf32> {
  %0 = "anas.conv"(%x) {anas.name = "stem", features = 8 : i64, kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>} : (tensor<?x28x28x1xf32>) -> tensor<?x14x14x8xf32>
  %1 = call @block0(%0) : (tensor<?x14x14x8xf32>) -> tensor<?x14x14x8xf32>
  %2 = "anas.mean"(%1) {axes = array<i64: 1, 2>} : (tensor<?x14x14x8xf32>) -> tensor<?x8xf32>
  %3 = "anas.dense"(%2) {anas.name = "head", features = 10 : i64} : (tensor<?x8xf32>) -> tensor<?x10xf32>
  return %3 : tensor<?x10xf32>
}
func.func private @block0(%x: tensor<?x14x14x8xf32>) -> tensor<?x14x14x8xf32> attributes {anas.block = "block"} {
  %0 = "anas.conv"(%x) {anas.name = "conv", features = affine_map<(n, h, w, c) -> (c)>, kernel = array<i64: 3, 3>} : (tensor<?x14x14x8xf32>) -> tensor<?x14x14x8xf32>
  %1 = "anas.batch_norm"(%0) {anas.name = "bn"} : (tensor<?x14x14x8xf32>) -> tensor<?x14x14x8xf32>
  %2 = "anas.$1"(%1) : (tensor<?x14x14x8xf32>) -> tensor<?x14x14x8xf32>
  return %2 : tensor<?x14x14x8xf32>
}
EOF2
}
net relu >relu.mlir
net gelu >gelu.mlir
search() { # search MODEL STUDY FLAGS...
  model=$1
  study=$2
  shift 2
  anas-search "$model" --dataset fashion-mnist --limit 256 --validation 128 --batch 32 --epochs 1 --seed 3 --study "$study" "$@" >"$study.txt"
}
search relu.mlir all --trials 3 --metrics grad_norm,snip,synflow,naswot
search relu.mlir again --trials 3 --metrics naswot,synflow,snip,grad_norm
search relu.mlir none --trials 3
columns='grad_norm, snip, synflow, naswot'
test "$(sqlite3 all/study.db 'select count(*) from trials where grad_norm > 0 and snip > 0 and synflow > 0')" = 3
for s in all again; do sqlite3 $s/study.db "select number, accuracy, $columns from trials" >$s.rows; done
cmp all.rows again.rows
# Looking at them changes nothing: training starts from fresh parameters.
test "$(sqlite3 all/study.db 'select accuracy, loss from trials')" = "$(sqlite3 none/study.db 'select accuracy, loss from trials')"
test "$(sqlite3 none/study.db 'select count(*) from trials where snip is not null')" = 0
anas-search proxies all >table.txt
for m in params grad_norm snip synflow; do grep -q "^$m  *3 " table.txt; done
anas-search proxies all --against loss --json | jq -e 'map(select(.metric == "snip")) | .[0].spearman | . >= -1 and . <= 1' >/dev/null

# A network without relu has no codes: said in its output, and it is trained all the same.
search gelu.mlir smooth --trials 1 --metrics naswot,snip
test "$(sqlite3 smooth/study.db 'select state, naswot is null, snip > 0 from trials')" = 'COMPLETE|1|1'
grep -q 'naswot is unknown: the network has no relu' smooth/trials/0000/output.txt

# As objective and filter.
search relu.mlir filter --trials 3 --objective synflow:max --objective params:min --constraint 'snip > 1e9 * seed.snip'
test "$(sqlite3 filter/study.db 'select state from trials' | tr '\n' ' ')" = 'COMPLETE INVALID INVALID '
sqlite3 filter/study.db 'select reason from trials where number = 2' | grep -q "^outside --constraint 'snip > 1e9 \* seed.snip': snip = .*, seed.snip = "
test "$(sqlite3 filter/study.db 'select count(*) from trials where synflow > 0 and snip > 0')" = 3
