#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A process needs little more memory than the plan says, whether the code comes from the compiler or from the cache, and
# touches the arena in huge pages.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
  echo "FAIL: $*" >&2
  exit 1
}

sanitized=${ANAS_SANITIZED:-0} # shadow memory counts as the process's: its peak says nothing

check() { # what was run, as JSON in $scratch/run.json
  jq -s -e '.[0].planned_bytes == .[0].arena_bytes + .[0].params_bytes + .[0].data_bytes' "$scratch/run.json" >/dev/null ||
    fail "$1: planned_bytes is not the sum of its parts: $(head -n 1 "$scratch/run.json")"
  [ "$sanitized" = 1 ] || jq -s -e '.[-1].peak_bytes <= .[0].planned_bytes + 80e6' "$scratch/run.json" >/dev/null ||
    fail "$1: more than 80 MB over the plan: $(cat "$scratch/run.json")"
}

# Pages of 4 KiB would be one fault each.
huge() {
  [ "$sanitized" = 1 ] && return
  grep -q '\[never\]' /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null && return
  [ -e /sys/kernel/mm/transparent_hugepage/enabled ] || return 0
  jq -s -e '.[-1].page_faults < .[0].arena_bytes / 4096 / 2' "$scratch/run.json" >/dev/null ||
    fail "$1: too many page faults: $(tail -n 1 "$scratch/run.json")"
}

run() { # model, cache
  anas-zoo "$1" --input 28x28x1 --classes 10 -o "$scratch/$1.mlir"
  ANAS_CACHE_DIR=$2 anas-train "$scratch/$1.mlir" --dataset fashion-mnist --limit 256 --validation 128 --batch 128 \
    --max-steps 1 --save "$scratch/$1.safetensors" --json >"$scratch/run.json"
  check "$1"
  huge "$1"
}

run cnn "$scratch/cache"
run cnn "$scratch/cache"
run resnet18 "$ANAS_CACHE_DIR"

# Under a limit values are computed again instead of kept: the same losses in less memory; an error if that cannot be.
jq -s '[.[0].planned_bytes, .[-1].train_loss, .[-1].val_loss]' "$scratch/run.json" >"$scratch/free.json"
train() {
  anas-train "$scratch/resnet18.mlir" --dataset fashion-mnist --limit 256 --validation 128 --batch 128 --max-steps 1 "$@"
}
train --memory-limit 300M --json >"$scratch/run.json"
[ "$sanitized" = 1 ] || jq -s -e '.[-1].peak_bytes <= 300 * 1024 * 1024' "$scratch/run.json" >/dev/null || fail "limit: $(cat "$scratch/run.json")"
jq -s '[.[0].planned_bytes, .[-1].train_loss, .[-1].val_loss]' "$scratch/run.json" |
  jq -e --slurpfile free "$scratch/free.json" '.[0] < $free[0][0] and .[1:] == $free[0][1:]' >/dev/null ||
  fail "limit: not less memory or other results: $(cat "$scratch/free.json" "$scratch/run.json")"
refuse() { # limit, text
  if train --memory-limit "$1" >"$scratch/out" 2>"$scratch/err"; then fail "--memory-limit $1 is enough?"; fi
  grep -q "$2" "$scratch/err" || fail "--memory-limit $1: $(cat "$scratch/err")"
}
refuse 150M 'if it computes again what it can .* the memory limit leaves [0-9.]* MB; use a smaller batch'
refuse 10M 'the process needs 80.0 MB'
