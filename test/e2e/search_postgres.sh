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

test "$(sql 'select count(*), count(distinct number) from anas.ends')" = '40|40' || fail "trials that ended more than once, or never"
test "$(sql "select count(*) from anas.artefacts where file = 'output.txt'")" = 40
test "$(sql "select count(*) from anas.artefacts where file = 'checkpoint.safetensors'")" = 0
same_as_alone
test "$(wc -l <shared.log)" = 40
anas-search fsck "$uri" >fsck.txt
grep -q '40 trials, 80 files; 0 problems$' fsck.txt
anas-search replay "$uri" | grep -q '^40 trials decided again: 0 differ$'
anas-search gc "$uri" | grep -q '^0 files'
anas-search top "$uri" -n 3 --json | jq -e 'length == 3' >/dev/null
anas-search show "$uri" 4 --output | grep -q '^epoch 2/2'
# What was stored is what is there.
sql "update anas.artefacts set content = content || 'x' where trial = 7 and file = 'candidate.mlir'"
if anas-search fsck "$uri" >fsck.txt 2>&1; then fail "fsck found nothing"; fi
grep -q 'trial 7: candidate.mlir has ' fsck.txt

# ---- another study of the same database: decided ahead, files in a directory, a worker that is told to end
study="$uri#second"
begin driver2.txt anas-search --model cnn --evaluator simulated:seconds=0.2 --trials 8 --seed 2 --study "$study" --workers 0 --in-flight 3 \
  --artefacts kept
driver=$new
begin ended.txt env ANAS_TEST_FAULT=hang:1 anas-search worker --study "$study" --idle-timeout 30s
ending=$new
wait_for "exists(select from pg_tables where schemaname = 'second' and tablename = 'trials')"
wait_for "(select state = 'RUNNING' from second.trials where number = 1)"
if anas-search --study "$study" --resume >refused.txt 2>&1; then fail "two drivers"; fi
grep -q 'is in use by another driver' refused.txt
kill -TERM "$ending"
wait "$ending" || fail "a worker that is told to end failed"
test "$(sql 'select state, attempts from second.trials where number = 1')" = 'INTERRUPTED|1'
begin worker5.txt anas-search worker --study "$study" --workers 2
wait "$new"
wait "$driver"
test "$(sql "select count(*), sum(attempts) from second.trials where state = 'COMPLETE'")" = '8|9'
test "$(sql "select count(*) from second.artefacts where content is not null")" = 0
test -e kept/trials/0007/output.txt
ls kept/front | grep -q mlir
anas-search fsck "$study" | grep -q '8 trials, 16 files; 0 problems$'
anas-search replay "$study" | grep -q ' 0 differ$'

# ---- mistakes
if anas-search worker --study alone >err.txt 2>&1; then fail "a worker of SQLite"; fi
grep -q 'workers need one in PostgreSQL' err.txt
if anas-search worker --study "$uri#absent" >err.txt 2>&1; then fail "a worker of nothing"; fi
grep -q "there is no study in .*#absent' (no tables in schema 'absent')" err.txt
if anas-search $flags --study "$uri" --workers 0 >err.txt 2>&1; then fail "a study over another"; fi
grep -q 'already holds a study' err.txt
if anas-search --model cnn --study "$uri#third" --workers 0 >err.txt 2>&1; then fail "nothing in flight"; fi
grep -q -e '--workers 0 needs --in-flight N' err.txt
if anas-search worker --study "$uri" --wrokers 2 >err.txt 2>&1; then fail "an unknown flag"; fi
grep -q "did you mean '--workers'\|did you mean 'workers'" err.txt
if anas-search status 'postgresql://anas:secret@127.0.0.1:1/x' >err.txt 2>&1; then fail "a server that is not there"; fi
grep -q "postgresql://anas@127.0.0.1:1/x" err.txt
if grep -q secret err.txt; then fail "a password in a message"; fi
anas-search worker --help | grep -q '^Examples:'
