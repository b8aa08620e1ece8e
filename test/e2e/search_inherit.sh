#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# --inherit-weights in a real search: every child here is its parent with one residual block twice, so it starts where
# the parent stopped; the same search from scratch is the comparison.
set -eu
rm -rf ./*
refused() { if "$@"; then echo "should have failed: $*" >&2; exit 1; fi; } # set -e ignores a plain "!"
cat >net.mlir <<'EOF2'
func.func @main(%x: tensor<?x28x28x1xf32>) -> tensor<?x10xf32> {
  %0 = "anas.conv"(%x) {anas.name = "stem", features = 16 : i64, kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>} : (tensor<?x28x28x1xf32>) -> tensor<?x14x14x16xf32>
  %1 = "anas.relu"(%0) : (tensor<?x14x14x16xf32>) -> tensor<?x14x14x16xf32>
  %2 = call @block0(%1) : (tensor<?x14x14x16xf32>) -> tensor<?x14x14x16xf32>
  %3 = "anas.avg_pool"(%2) {window = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<?x14x14x16xf32>) -> tensor<?x7x7x16xf32>
  %4 = "anas.flatten"(%3) : (tensor<?x7x7x16xf32>) -> tensor<?x784xf32>
  %5 = "anas.dense"(%4) {anas.name = "head", features = 10 : i64} : (tensor<?x784xf32>) -> tensor<?x10xf32>
  return %5 : tensor<?x10xf32>
}
func.func private @block0(%x: tensor<?x14x14x16xf32>) -> tensor<?x14x14x16xf32> attributes {anas.block = "block"} {
  %0 = "anas.conv"(%x) {anas.name = "conv", features = affine_map<(n, h, w, c) -> (c)>, kernel = array<i64: 3, 3>} : (tensor<?x14x14x16xf32>) -> tensor<?x14x14x16xf32>
  %1 = "anas.batch_norm"(%0) {anas.name = "bn", momentum = 0.9 : f32} : (tensor<?x14x14x16xf32>) -> tensor<?x14x14x16xf32>
  %2 = "anas.add"(%x, %1) : (tensor<?x14x14x16xf32>, tensor<?x14x14x16xf32>) -> tensor<?x14x14x16xf32>
  %3 = "anas.relu"(%2) : (tensor<?x14x14x16xf32>) -> tensor<?x14x14x16xf32>
  return %3 : tensor<?x14x14x16xf32>
}
EOF2
search() { # search STUDY TRIALS FLAGS...
  study=$1
  trials=$2
  shift 2
  anas-search net.mlir --dataset fashion-mnist --limit 2048 --validation 512 --batch 64 --epochs 1 --lr 0.02 --seed 3 \
    --mutation-duplicate 1 --mutation-delete 0 --trials "$trials" --study "$study" "$@" >"$study.txt"
}
rows() { sqlite3 "$1/study.db" "select number, hash, accuracy, loss, inherited from trials order by number"; }
search heirs 3 --inherit-weights
search scratch 3

# The same architectures; those that inherit are better after the same few steps.
test "$(sqlite3 heirs/study.db 'select hash from trials where number = 1')" = \
  "$(sqlite3 scratch/study.db 'select hash from trials where number = 1')"
heir=$(sqlite3 heirs/study.db 'select avg(accuracy) from trials where parent >= 0')
alone=$(sqlite3 scratch/study.db 'select avg(accuracy) from trials where parent >= 0')
awk -v a="$heir" -v b="$alone" 'BEGIN { exit !(a > b) }' || { echo "inherited: $heir, from scratch: $alone" >&2; exit 1; }
grep -q 'inherited 10 of 16 tensors, .* of trial 0; 1 new residual branches start as zero' heirs/trials/0001/output.txt
test "$(sqlite3 heirs/study.db 'select count(*) from trials where inherited > 0.7 and inherited < 1 and parent >= 0')" = 2
test "$(sqlite3 scratch/study.db 'select count(*) from trials where inherited is not null')" = 0

# Weights of all trials are there while the study may go on, and a resumed search is the undisturbed one.
search part 2 --inherit-weights
anas-search --study part --resume --trials 3 >/dev/null
rows heirs >heirs.rows
rows part >part.rows
cmp heirs.rows part.rows
anas-search replay heirs | grep -q '3 trials decided again: 0 differ'
test "$(ls heirs/trials/*/weights.safetensors | wc -l)" = 3
sqlite3 heirs/study.db "update settings set value = json_set(value, '\$.trials', 4) where key = 'options'"
anas-search gc heirs --dry-run | grep -q '^0 files'

# gc of a study that has all its trials keeps the front's. A child of a trial whose weights are gone starts from scratch.
sqlite3 heirs/study.db "update settings set value = json_set(value, '\$.trials', 3) where key = 'options'"
anas-search gc heirs >/dev/null
test "$(ls heirs/trials/*/weights.safetensors | wc -l)" = "$(anas-search pareto heirs --json | jq length)"
anas-search fsck heirs >/dev/null
rm heirs/trials/*/weights.safetensors
anas-search --study heirs --resume --trials 4 >/dev/null
grep -q 'has no weights to inherit (any more): all parameters are initialised' heirs/trials/0003/output.txt
test "$(sqlite3 heirs/study.db 'select inherited from trials where number = 3')" = 0.0

refused anas-search --study scratch --resume --inherit-weights --trials 4 2>error.txt
grep -q 'inherit-weights belongs to the study' error.txt
refused search x 2 --inherit-weights --keep-weights none 2>error.txt
grep -q 'keep-weights none drops them' error.txt
