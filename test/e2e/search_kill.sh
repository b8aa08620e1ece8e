#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Random kill -9 of the driver and of trials, resumed each time: no finished trial is lost or done again, and the search
# decides as an undisturbed one. For a long run: ANAS_KILLS=200 ANAS_KILL_SEED=N; with ANAS_KILL_TRAIN=1 trials really
# train, and go on at the epoch they were killed in. ANAS_KILL_FLAGS are more flags of the search.
set -eu
rm -rf ./*
kills=${ANAS_KILLS:-12}
seed=${ANAS_KILL_SEED:-1}
trials=$((kills * 5 + 12))
set -- --model cnn --synchronous 4 --workers 2 --epochs 3 --seed 9 ${ANAS_KILL_FLAGS:-}
pauses=0.4
if test -n "${ANAS_KILL_TRAIN:-}"; then
  trials=$((kills + 4)) pauses=4
  set -- "$@" --dataset fashion-mnist --limit 2000 --validation 500 --trials $trials
else
  set -- "$@" --evaluator simulated:seconds=0.15,diverge=0.1 --trials $trials
fi
decisions() { sqlite3 "$1/study.db" 'select number, parent, state, hash, accuracy, decision from trials order by number'; }
curves() { sqlite3 "$1/study.db" 'select * from curves order by trial, steps'; }
finished() { sqlite3 killed/study.db "select number, state, finished from trials where state not in
  ('WAITING', 'RUNNING', 'INTERRUPTED', 'PAUSED')
  order by number"; }
running() { kill -0 "$driver" 2>/dev/null; }

anas-search "$@" --study killed >killed.txt 2>&1 &
driver=$!
until test -s killed/study.db; do sleep 0.05; done
done=0
awk -v seed="$seed" -v n="$kills" -v pauses=$pauses 'BEGIN { srand(seed); for (i = 0; i < n; i++) print 0.02 + pauses * rand(), int(3 * rand()) }' >plan
while read -r pause target; do
  sleep "$pause"
  running || break
  victim=$driver
  test "$target" = 0 || victim=$(pgrep -P "$driver" | sed -n "${target}p" || true)
  test -n "$victim" || victim=$driver
  kill -9 "$victim" 2>/dev/null || continue # it had just ended
  done=$((done + 1))
  test "$victim" = "$driver" || continue
  wait "$driver" 2>/dev/null || true
  finished >before.txt
  anas-search --study killed --resume >>killed.txt 2>&1 &
  driver=$!
  # What was finished stays as it was.
  finished | sort >after.txt
  sort before.txt | comm -23 - after.txt >lost.txt
  test ! -s lost.txt || { echo "lost or changed:" >&2; cat lost.txt >&2; exit 1; }
done <plan
wait "$driver"
echo "seed $seed: $done kills, $trials trials"
test "$done" -ge $((kills * 3 / 4)) # the search must not have ended before

anas-search "$@" --study undisturbed >undisturbed.txt
decisions killed >killed.log
decisions undisturbed >undisturbed.log
cmp killed.log undisturbed.log
curves killed >killed.log2
curves undisturbed | cmp - killed.log2
test "$(wc -l <killed.log)" = "$trials"
anas-search replay killed | grep -q 'decided again: 0 differ$'
