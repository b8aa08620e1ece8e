#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A study in a real PostgreSQL, started here: four workers, of which one is killed, one frozen past its lease and thawed,
# while the server goes away and comes back. Every trial ends exactly once, and the search is the undisturbed one.
set -eu
rm -rf ./*
. "$(dirname "$0")/postgres.inc"

# ---- four workers, two of them in trouble
flags="--model cnn --trials 40 --seed 9 --synchronous 8 --epochs 2" # how long a trial takes decides nothing
anas-search $flags --evaluator simulated:diverge=0.1 --study alone --workers 2 --quiet >alone.txt
begin driver.txt anas-search $flags --evaluator simulated:seconds=0.3,diverge=0.1 --study "$uri" --workers 0 --lease 2s
driver=$new
note_ends
for w in 1 2 3 4; do begin worker$w.txt anas-search worker --study "$uri" --idle-timeout 60s; done
workers=$(echo "$started" | cut -d' ' -f3-)

freeze
killed=$frozen killed_trial=$trial
kill -9 "$killed"
freeze
wait_for "(select attempts >= 2 from anas.trials where number = $killed_trial)"
wait_for "(select attempts >= 2 from anas.trials where number = $trial)"
kill -CONT "$frozen"

# The server goes, and comes back.
as_user "$server/pg_ctl" -D "$base/data" -m fast -w stop >/dev/null
sleep 1
start_server
wait "$driver" || fail "the driver failed"
for w in $workers; do
  test "$w" = "$killed" || wait "$w" || fail "worker $w failed"
done
grep -q 'the database is back' driver.txt || fail "the driver did not say that it lost the database"
cat worker?.txt | grep -q "trial $trial: the lease ran out and another worker has it" || fail "the thawed worker did not say that it was late"

counts '40|40' 'select count(*), count(distinct number) from anas.ends'
counts 40 "select count(*) from anas.artefacts where file = 'output.txt'"
counts 0 "select count(*) from anas.artefacts where file = 'checkpoint.safetensors'"
same_as_alone
test "$(wc -l <shared.log)" = 40
says '40 trials, 80 files; 0 problems$' anas-search fsck "$uri"
says '^40 trials decided again: 0 differ$' anas-search replay "$uri"
says '^0 files' anas-search gc "$uri"
says '^3$' sh -c "anas-search top '$uri' -n 3 --json | jq length"
says 'the loss is nan at step 1' anas-search show "$uri" 5 --output
# What was stored is what is there.
sql "update anas.artefacts set content = content || 'x' where trial = 7 and file = 'candidate.mlir'"
refuses 'trial 7: candidate.mlir has ' anas-search fsck "$uri"

# ---- another study of the same database: decided ahead, files in a directory, a worker that is told to end
study="$uri#second"
begin driver2.txt anas-search --model cnn --evaluator simulated:seconds=0.2 --trials 8 --seed 2 --study "$study" --workers 0 --in-flight 3 \
  --artefacts kept
driver=$new
begin ended.txt env ANAS_TEST_FAULT=hang:1 anas-search worker --study "$study" --idle-timeout 30s
ending=$new
wait_for "exists(select from pg_tables where schemaname = 'second' and tablename = 'trials')"
wait_for "(select state = 'RUNNING' from second.trials where number = 1)"
refuses 'is in use by another driver' anas-search --study "$study" --resume
kill -TERM "$ending"
wait "$ending" || fail "a worker that is told to end failed"
counts 'INTERRUPTED|1' 'select state, attempts from second.trials where number = 1'
begin worker5.txt anas-search worker --study "$study" --workers 2
wait "$new" || fail "the worker failed"
wait "$driver" || fail "the driver failed"
counts '8|9' "select count(*), sum(attempts) from second.trials where state = 'COMPLETE'"
counts 0 "select count(*) from second.artefacts where content is not null"
test -e kept/trials/0007/output.txt || fail "no file in the directory"
says mlir ls kept/front
says '8 trials, 16 files; 0 problems$' anas-search fsck "$study"
says ' 0 differ$' anas-search replay "$study"

# ---- mistakes
refuses 'workers need one in PostgreSQL' anas-search worker --study alone
refuses "there is no study in .*#absent' (no tables in schema 'absent')" anas-search worker --study "$uri#absent"
refuses 'already holds a study' anas-search $flags --study "$uri" --workers 0
refuses '--workers 0 needs --in-flight N' anas-search --model cnn --study "$uri#third" --workers 0
refuses 'did you mean' anas-search worker --study "$uri" --wrokers 2
refuses "'postgresql://anas@127.0.0.1:1/x'" anas-search status 'postgresql://anas:secret@127.0.0.1:1/x'
if grep -q secret said.txt; then fail "a password in a message"; fi
says '^Examples:' anas-search worker --help
sed -n '/^Examples:/,$s/^  \(anas-search .*\)/\1/p' said.txt >examples.list # of a search that has ended: so do they
test "$(wc -l <examples.list)" = 2 || fail "worker --help has other examples"
while read -r line; do
  STUDY="$uri" sh -c "$line" >example.txt 2>&1 </dev/null || fail "exit code $? of: $line"
done <examples.list
