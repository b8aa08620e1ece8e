#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Memory of training every network of the zoo. Prints JSON, one line a network, size and batch:
#   planned_bytes   what anas-train announces: arena, parameters and optimizer state, data set
#   touched_bytes   of the arena: up to the last byte that a step writes
#   bound_ratio     arena (without scratch memory) by the most that lives at one time, the larger of both entry functions
#   peak_bytes      resident peak of the process, compiling included: with an empty cache, and with a full one
# Exit code 1 if something breaks a rule: a peak above the plan by more than 80 MB, touched bytes a page or more short of the
# arena or behind it, a ratio above 1.15.
#   memory_zoo.sh --data DIR [--bin DIR] [--photos DIR] [--steps N] [NETWORK[:BATCH]...]
# --data: CIFAR-10, for 32x32 images. --photos: a folder of pictures (imagefolder), for resnet50, b0 and vit-s/16 at 224x224
# and batch 16. Default: all networks, with batches that keep each of them within seconds and 8 GB.
set -eu
data="" photos="" steps=3
while [ $# -gt 0 ]; do
  case $1 in
  --data) data=$2 ;;
  --bin) PATH=$2:$PATH ;;
  --photos) photos=$2 ;;
  --steps) steps=$2 ;;
  -*) echo "$0: unknown option $1; the first lines of the script say what there is" >&2; exit 1 ;;
  *) break ;;
  esac
  shift 2
done
[ -n "$data$photos" ] || { sed -n '3,12s/^# //p' "$0" >&2; exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

batch_of() { # network
  case $1 in
  vit-l/*) echo 4 ;;
  b6 | b7 | resnet152 | resnet200 | vit-b/*) echo 16 ;;
  *) echo 64 ;;
  esac
}

# train LOG: a short run of anas-train on the network in net.mlir, as its JSON.
train() {
  # shellcheck disable=SC2086
  ANAS_CACHE_DIR=$scratch/cache anas-train "$scratch/net.mlir" $source --batch "$batch" --max-steps "$steps" \
    --validation "$batch" --json >"$1"
}

measure() { # network input classes batch source...
  network=$1 input=$2 classes=$3 batch=$4 source=$5
  rm -rf "$scratch/cache"
  anas-zoo "$network" --input "$input" --classes "$classes" -o "$scratch/net.mlir"
  anas-opt "$scratch/net.mlir" --anas-train-step=batch="$batch" --anas-to-kernels=memory-report="$scratch/plan" -o /dev/null
  train "$scratch/cold"
  train "$scratch/warm"
  anas-bench model "$scratch/net.mlir" --batch "$batch" --steps 1 | tail -n 1 >"$scratch/bench"
  jq -n -c --arg network "$network" --arg input "$input" --argjson batch "$batch" --slurpfile plan "$scratch/plan" \
    --slurpfile cold "$scratch/cold" --slurpfile warm "$scratch/warm" --slurpfile bench "$scratch/bench" '
    def over($run): $run[-1].peak_bytes - $run[0].planned_bytes;
    $bench[0] as $b | ([$plan[0].steps[] | .arena_bytes / .live_bytes] | max) as $ratio
    | {bench: "memory", network: $network, input: $input, batch: $batch, planned_bytes: $cold[0].planned_bytes,
       arena_bytes: $b.arena_bytes, touched_bytes: $b.arena_bytes_touched, bound_ratio: $ratio,
       peak_bytes: {cold: $cold[-1].peak_bytes, warm: $warm[-1].peak_bytes},
       over_plan_bytes: {cold: over($cold), warm: over($warm)}, functions: $b.functions}
    | .ok = (over($cold) <= 80e6 and over($warm) <= 80e6 and $ratio <= 1.15 and .touched_bytes <= .arena_bytes
             and .touched_bytes > .arena_bytes - 4096)' >"$scratch/line"
  cat "$scratch/line"
  [ "$(jq .ok "$scratch/line")" = true ] || failed=1
}

if [ -n "$data" ]; then
  [ $# -gt 0 ] || set -- $(anas-zoo --list | awk 'NF > 4 && $2 ~ /^[0-9]+$/ { print $1 }')
  for item; do
    network=${item%:*} batch=$(batch_of "${item%:*}")
    [ "$network" = "$item" ] || batch=${item##*:}
    measure "$network" 32x32x3 10 "$batch" "--dataset cifar10 --data $data --limit 4096"
  done
fi
if [ -n "$photos" ]; then
  classes=$(find "$photos/train" -mindepth 1 -maxdepth 1 -type d | wc -l)
  for network in resnet50 b0 vit-s/16; do
    measure "$network" 224x224x3 "$classes" 16 "--dataset imagefolder --data $photos"
  done
fi
exit $failed
