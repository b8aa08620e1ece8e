#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# How the driver of anas-search scales: a study of N finished trials is made up, then opened and continued by M trials.
# Prints one JSON object: seconds to open it, milliseconds a decision, memory. usage: search_scale.sh BIN [N [M]]
set -eu
bin=$1
n=${2:-100000}
m=${3:-200}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$bin/anas-search" --model cnn --evaluator simulated --trials 2 --study "$work/s" >/dev/null
# Rows like a search leaves them; the candidates of all are that of trial 1, by links.
sqlite3 "$work/s/study.db" "
  with recursive c(i) as (select 2 union all select i + 1 from c where i + 1 < $n)
  insert into trials(number, parent, state, kind, block, description, hash, accuracy, loss, params, macs, flops, train_bytes,
    images_per_second, train_loss, compile_seconds, steps, peak_bytes, attempts, created, started, finished, decision)
  select i, abs(random()) % i, 'COMPLETE', 'mutate', 'conv_layer', '1 of 2 instances: [conv, relu] -> [conv, gelu] (depth 1)',
    lower(hex(randomblob(16))), 0.5 + (abs(random()) % 100000) / 250000.0, 0.5, 100000 + abs(random()) % 3000000,
    1e7, 2e7, 1e8, 900, 0.5, 0.1, 100, 100000000, 1, 1e9, 1e9, 1e9 + 10, '{}' from c;"
first=$work/s/trials/0001/candidate.mlir
seq -f "$work/s/trials/%04.0f" 2 $((n - 1)) | xargs mkdir -p
seq -f "$work/s/trials/%04.0f/candidate.mlir" 2 $((n - 1)) | while read -r f; do ln -s "$first" "$f"; done
start=$(date +%s.%N)
"$bin/anas-search" status "$work/s" --json >/dev/null
end=$(date +%s.%N)
/usr/bin/time -f %M -o "$work/rss" "$bin/anas-search" --study "$work/s" --resume --trials $((n + m)) --json >"$work/out"
tail -n 1 "$work/out" | jq -c --argjson n "$n" --argjson open "$(echo "$end - $start" | bc)" --argjson rss "$(tail -n 1 "$work/rss")" \
  '{trials: $n, open_seconds: $open, decision_ms_median, decision_ms_p99, peak_mb: ($rss / 1024)}'
