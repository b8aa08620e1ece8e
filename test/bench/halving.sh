#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# What successive halving saves: the same search on Fashion-MNIST with every trial trained in full and with
# --pruner halving in generations of 12 and of 24, one thread, one worker. Fronts are compared after retraining their networks in full with other seeds,
# on the test images, which no search has seen: the best accuracy of a network no larger than the seed, and the
# hypervolume of accuracy above 0.5 times log2 of how much smaller than twice the seed. 'prefix' is the search in full
# cut off when it has used as much compute as halving in generations of 24 did. Compute: training multiply-accumulates, 3 x MACs an image.
# Prints a JSON object a line, the last one with the means. usage: halving.sh BIN [SEEDS [TRIALS_FULL [TRIALS_HALVING]]]
set -euo pipefail
bin=$(realpath "$1")
seeds=${2:-3} full=${3:-36} halving=${4:-48}
epochs=9 batch=64 limit=${LIMIT:-1536} validation=1000 lr=0.05 retrainings=2
export ANAS_NUM_THREADS=1
work=${WORK:-$(mktemp -d)}
test -n "${WORK:-}" || trap 'rm -rf "$work"' EXIT
mkdir -p "$work"
cd "$work"

# CifarNet with a quarter of the channels.
"$bin/anas-zoo" cnn --input 28x28x1 --classes 10 |
  sed 's/x32xf32/x8xf32/g; s/x64xf32/x16xf32/g; s/x128xf32/x32xf32/g; s/x6272xf32/x1568xf32/g; s/x256xf32/x64xf32/g
    s/features = 32 : i64/features = 8 : i64/; s/features = 256 : i64/features = 64 : i64/' >seed.mlir
training=(--dataset fashion-mnist --limit $limit --validation $validation --epochs $epochs --batch $batch --lr $lr)

search() { # search STUDY SEED TRIALS GENERATION flags: seconds of processor time are left in STUDY.time
  local study=$1 seed=$2 trials=$3 generation=$4
  test ! -s "$study.time" || return 0
  shift 4
  rm -rf "$study"
  /usr/bin/time -f '%U %S' -o "$study.time" "$bin/anas-search" seed.mlir "${training[@]}" --study "$study" --seed "$seed" \
    --trials "$trials" --synchronous $generation --constraint 'params < 1.5*seed.params and macs < 1.5*seed.macs' \
    --keep-weights none "$@" >"$study.txt"
}
trials() { # of a study, as a JSON list
  sqlite3 -json "$1/study.db" "select number, state, accuracy, params, macs, steps * $batch * macs * 3 as compute
    from trials order by number"
}
front='def front: map(select(.state == "COMPLETE")) | . as $all | map(select(. as $t | $all | all(
    (.accuracy <= $t.accuracy or .params > $t.params) and (.accuracy < $t.accuracy or .params >= $t.params))));'
retrain() { # retrain STUDY TRIAL: mean accuracy on the test images, kept in a file
  local file=retrained/$1-$2
  mkdir -p retrained
  if ! test -s "$file"; then
    for r in $(seq $retrainings); do
      "$bin/anas-train" "$1/trials/$(printf %04d "$2")/candidate.mlir" "${training[@]}" --seed $((1000 + r)) --json | tail -n 1
    done | jq -s 'map(.test_accuracy) | add / length' >"$file"
  fi
  cat "$file"
}
report() { # report SEED ARM STUDY SECONDS, trials on standard input
  local list
  list=$(cat)
  for t in $(jq "$front front[].number" <<<"$list"); do
    echo "{\"number\": $t, \"retrained\": $(retrain "$3" "$t")}"
  done | jq -sc --argjson list "$list" --arg arm "$2" --argjson seed "$1" --argjson seconds "$4" "$front"'
    . as $retrained | ($list[0].params) as $size
    | ($list | front | map(. as $t | . + ($retrained[] | select(.number == $t.number)))) as $front
    | ($front | map({accuracy: .retrained, params, state, number}) | front | sort_by(.params)) as $again
    | {seed: $seed, arm: $arm, trials: ($list | length), complete: ($list | map(select(.state == "COMPLETE")) | length),
       compute_gmac: ($list | map(.compute) | add / 1e9), cpu_seconds: $seconds,
       best: ($front | map(select(.params <= $size) | .retrained) | max),
       hypervolume: ([range($again | length) | . as $i
         | ([$again[$i].accuracy - 0.5, 0] | max) * (([$again[$i + 1].params // (2 * $size), 2 * $size] | min | log2)
           - ([$again[$i].params, 2 * $size] | min | log2))] | add),
       front: ($front | map({number, params, accuracy, retrained}))}'
}
used() { awk '{ print $1 + $2 }' "$1.time"; }

for seed in $(seq "$seeds"); do
  search "full$seed" "$seed" "$full" 12
  search "halving$seed" "$seed" "$halving" 12 --pruner halving
  search "halving24-$seed" "$seed" "$halving" 24 --pruner halving
  trials "full$seed" | report "$seed" full "full$seed" "$(used "full$seed")"
  trials "halving$seed" | report "$seed" halving "halving$seed" "$(used "halving$seed")"
  trials "halving24-$seed" | report "$seed" halving24 "halving24-$seed" "$(used "halving24-$seed")"
  compute=$(trials "halving24-$seed" | jq 'map(.compute) | add')
  trials "full$seed" | jq --argjson most "$compute" \
    'reduce .[] as $t ({sum: 0, list: []}; .sum += $t.compute | if .sum <= $most then .list += [$t] else . end) | .list' |
    report "$seed" prefix "full$seed" null
done | tee results.json
jq -sc 'group_by(.arm) | map({key: .[0].arm, value: {compute_gmac: (map(.compute_gmac) | add / length),
    cpu_seconds: (map(.cpu_seconds // 0) | add / length), complete: (map(.complete) | add / length), best: (map(.best) | add / length),
    hypervolume: (map(.hypervolume) | add / length)}}) | from_entries
  | .full as $full | map_values(. + {compute_ratio: (.compute_gmac / $full.compute_gmac), cpu_ratio: (.cpu_seconds / $full.cpu_seconds)})' results.json
