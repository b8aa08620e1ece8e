#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Throughput and memory of the driver: WORKERS simulated trials of SECONDS at the same time, TRIALS in all. Prints a JSON
# object: trials a second against the ideal (workers by the mean duration), processor time a trial of the driver with its
# children, and the resident memory of the driver after each tenth. usage: search_workers.sh BIN [TRIALS [WORKERS [SECONDS]]]
set -eu
PATH=$1:$PATH
trials=${2:-1000}
workers=${3:-64}
seconds=${4:-1}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
/usr/bin/time -f '{"wall": %e, "user": %U, "system": %S, "kb": %M}' -o "$work/time" \
  anas-search --model cnn --evaluator "simulated:seconds=$seconds" --workers "$workers" --trials "$trials" \
  --study "$work/s" --json >"$work/out" &
job=$!
sleep 0.5
driver=$(pgrep -P $job | head -n 1)
kb=
step=1
while [ -e "/proc/$driver/status" ]; do
  sleep 0.2
  ended=$(grep -c '"event":"ended"' "$work/out" || true)
  if [ "$ended" -ge $((trials * step / 10)) ]; then
    now=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$driver/status" 2>/dev/null || true)
    [ -z "$now" ] || kb="$kb${kb:+,}[$ended,$now]"
    step=$((ended * 10 / trials + 1))
  fi
done
wait $job
# Ideal: the trials that ended while all workers were busy (neither the first nor the last of each), by their times.
sqlite3 -json "$work/s/study.db" "
  with t as (select number, started, finished from trials order by finished),
    w as (select min(finished) first, (select min(f) from (select finished f from t order by f desc limit $workers)) last
          from t),
    inside as (select t.* from t, w where t.finished >= w.first and t.finished <= w.last)
  select (count(*) - 1) / (max(finished) - min(finished)) as trials_a_second from inside" >"$work/rate"
jq -c --argjson trials "$trials" --argjson workers "$workers" --argjson seconds "$seconds" --argjson rss "[$kb]" \
  --slurpfile t "$work/time" --slurpfile done "$(tail -n 1 "$work/out" >"$work/last"; echo "$work/last")" \
  '.[0] | .trials_a_second as $rate | {trials: $trials, workers: $workers, seconds: $seconds, trials_a_second: $rate,
    of_ideal: ($rate * $seconds / $workers), cpu_ms_a_trial: (1e3 * ($t[0].user + $t[0].system) / $trials),
    wall_seconds: $t[0].wall, rss_kb: $rss} + ($done[0] | {decision_ms_median, decision_ms_p99, decision_cpu_ms_median,
    decision_cpu_ms_p99})' "$work/rate"
