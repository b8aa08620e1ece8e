#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A search that compiles and trains for real, on a small network and a few images.
set -eu
rm -rf ./*
refused() { if "$@"; then echo "should have failed: $*" >&2; exit 1; fi; } # set -e ignores a plain "!"
cat >net.mlir <<'EOF'
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
  %2 = "anas.relu"(%1) : (tensor<?x14x14x8xf32>) -> tensor<?x14x14x8xf32>
  return %2 : tensor<?x14x14x8xf32>
}
EOF
anas-search net.mlir --dataset fashion-mnist --limit 512 --validation 256 --batch 64 --epochs 1 --trials 3 --seed 2 \
  --study s >out.txt
test "$(sqlite3 s/study.db "select count(*) from trials where state = 'COMPLETE' and accuracy between 0 and 1 and steps = 8
  and images_per_second > 0 and peak_bytes > 1000000")" = 3
grep -q 'compiled in' s/trials/0000/output.txt
grep -q 'epoch 1/1: loss' s/trials/0002/output.txt

# Weights are kept for the front and for nobody else.
for t in 0000 0001 0002; do
  if test -e s/front/$t.mlir; then test -s s/trials/$t/weights.safetensors; else test ! -e s/trials/$t/weights.safetensors; fi
done

# The same trial again gives the same accuracy: decisions, initial weights, data order and arithmetic are fixed.
anas-search net.mlir --dataset fashion-mnist --limit 512 --validation 256 --batch 64 --epochs 1 --trials 3 --seed 2 \
  --study again >again.txt
sqlite3 s/study.db 'select number, hash, accuracy, loss from trials' >s.log
sqlite3 again/study.db 'select number, hash, accuracy, loss from trials' >again.log
cmp s.log again.log

# A model for other images is refused before anything starts.
sed 's/28x28x1xf32/32x32x3xf32/g;s/14x14x8/16x16x8/g' net.mlir >other.mlir
refused anas-search other.mlir --dataset fashion-mnist --study x 2>error.txt
grep -q 'the model takes tensor<?x32x32x3xf32>, but images of fashion-mnist are tensor<?x28x28x1xf32>' error.txt

# Planned memory is an exact number, before training; a constraint on it refuses candidates with the number.
planned=$(sqlite3 s/study.db 'select planned_bytes from trials where number = 0')
test "$(sed -n 's/.*arena \([0-9]*\) bytes, parameters \([0-9]*\) bytes/\1 \2/p' s/trials/0000/output.txt |
  awk '{printf "%d", $1 + $2}')" = "${planned%.0}"
# Parameters and running statistics, as the file holds them.
model=$(sqlite3 s/study.db 'select model_bytes from trials where number = (select max(trial) from artefacts where file = "weights.safetensors")')
weights=$(sqlite3 s/study.db 'select max(trial) from artefacts where file = "weights.safetensors"')
file=s/trials/$(printf %04d "$weights")/weights.safetensors
header=$(od -An -tu8 -N8 "$file" | tr -d ' ')
test $(($(stat -c %s "$file") - 8 - header)) = "${model%.0}"
anas-search net.mlir --dataset fashion-mnist --limit 128 --validation 128 --batch 64 --trials 2 --seed 2 --study c \
  --constraint 'params > 0 and planned_bytes < 0.1*seed.planned_bytes' >out.txt
test "$(sqlite3 c/study.db "select state from trials order by number" | tr '\n' ' ')" = 'COMPLETE INVALID '
sqlite3 c/study.db 'select reason from trials where number = 1' |
  grep -q "^outside --constraint 'params > 0 and planned_bytes < 0.1\*seed.planned_bytes': params = [0-9]*, planned_bytes = [0-9]*, seed.planned_bytes = $(sqlite3 c/study.db 'select cast(planned_bytes as integer) from trials where number = 0')$"

# Latency is measured beside the seed model, which is the candidate itself in trial 0.
anas-search net.mlir --dataset fashion-mnist --limit 128 --validation 128 --batch 64 --trials 2 --seed 2 --study l \
  --objective accuracy:max --objective latency_p50:min --latency-batch 3 --constraint 'latency_p95 < 1000*seed.latency_p50' >out.txt
test "$(sqlite3 l/study.db "select count(*) from trials where state = 'COMPLETE' and 0 < latency_p50
  and latency_p50 <= latency_p95 and latency_spread >= 0 and seed_latency_p50 > 0")" = 2
grep -q 'latency of a batch of 3: median .* seed model: .* runs each in alternation' l/trials/0001/output.txt
