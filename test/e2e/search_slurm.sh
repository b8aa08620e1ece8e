#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The job array that is installed, in a real Slurm of one node that is started here, on a study in a real PostgreSQL: one
# of four workers is killed, one frozen past its lease, one cancelled. Every trial ends exactly once, and the search is the
# undisturbed one.
set -eu
rm -rf ./*
PATH="$PATH:/usr/sbin"
for program in munged slurmctld slurmd sbatch; do
  command -v $program >/dev/null && continue
  echo "skipped: no $program (Debian packages slurm-wlm and munge)"
  exit 0
done
if test "$(id -u)" != 0; then
  echo "skipped: Slurm's daemons must run as root"
  exit 0
fi
. "$(dirname "$0")/postgres.inc"
script="$(dirname "$0")/../../tools/anas-search/slurm/anas-worker.sbatch"

# ---- munge and Slurm, with everything they write below $base
chmod 755 "$base"
mkdir -p "$base/munge" "$base/state" "$base/spool"
chmod 755 "$base/munge"
dd if=/dev/urandom of="$base/munge/key" bs=1 count=256 status=none
chmod 400 "$base/munge/key"
node=$(hostname -s)
port=$((20000 + $$ % 20000))
cat >"$base/slurm.conf" <<END
ClusterName=anas
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$base/munge/socket
StateSaveLocation=$base/state
SlurmdSpoolDir=$base/spool
SlurmctldPidFile=$base/slurmctld.pid
SlurmdPidFile=$base/slurmd.pid
SlurmctldLogFile=$base/slurmctld.log
SlurmdLogFile=$base/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
NodeName=$node NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=test Nodes=$node Default=YES MaxTime=INFINITE State=UP
END
echo "CgroupAutomount=no" >"$base/cgroup.conf"
export SLURM_CONF="$base/slurm.conf"
daemons=
stop_slurm() {
  test -z "${job:-}" || scancel --quiet --full --signal=KILL "$job" 2>/dev/null || true
  for d in $daemons; do kill "$d" 2>/dev/null || true; done
  for d in $daemons; do wait "$d" 2>/dev/null || true; done
  stop_all
}
trap stop_slurm EXIT
munged --foreground --force --key-file="$base/munge/key" --socket="$base/munge/socket" --pid-file="$base/munge/pid" \
  --log-file="$base/munge/log" --seed-file="$base/munge/seed" >"$base/munged.out" 2>&1 &
daemons=$!
for _ in $(seq 100); do test -S "$base/munge/socket" && break; sleep 0.1; done
slurmctld -D -f "$SLURM_CONF" >"$base/slurmctld.out" 2>&1 &
daemons="$! $daemons"
slurmd -D -N "$node" -f "$SLURM_CONF" >"$base/slurmd.out" 2>&1 &
daemons="$! $daemons"
for _ in $(seq 200); do
  test "$(sinfo -h -o %T 2>/dev/null)" = idle && break
  sleep 0.1
done
if test "$(sinfo -h -o %T 2>&1)" != idle; then
  tail -n 20 "$base/munge/log" "$base/slurmctld.log" "$base/slurmd.log" "$base"/*.out >&2
  fail "Slurm did not come up: $(sinfo -h -o %T 2>&1)"
fi

# ---- the search
flags="--model cnn --trials 32 --seed 11 --synchronous 8 --epochs 2"
anas-search $flags --evaluator simulated --study alone --workers 2 --quiet >alone.txt
begin driver.txt anas-search $flags --evaluator simulated:seconds=0.4 --study "$uri" --workers 0 --lease 2s
driver=$new
note_ends
job=$(ANAS_STUDY="$uri" ANAS_IDLE=60s sbatch --parsable --array=0-3 --cpus-per-task=1 --output="$PWD/worker%a.txt" "$script")
freeze
killed=$frozen
killed_trial=$trial
kill -9 "$killed"
freeze
wait_for "(select attempts >= 2 from anas.trials where number = $killed_trial)"
wait_for "(select attempts >= 2 from anas.trials where number = $trial)"
kill -CONT "$frozen"
cancelled=
# Another one ends before its time, as when its limit comes near: nothing of it is lost.
for task in 0 1 2 3; do
  test "$(squeue -h -j "${job}_$task" -t RUNNING -o %T 2>/dev/null)" = RUNNING || continue
  scancel --quiet "${job}_$task"
  cancelled=$task
  break
done
wait "$driver" || fail "the driver failed"
for _ in $(seq 200); do
  test -n "$(squeue -h -j "$job" 2>/dev/null)" || break
  sleep 0.1
done
test -z "$(squeue -h -j "$job" 2>/dev/null)" || fail "workers did not end with the search: $(squeue -j "$job")"
job=

cat worker?.txt | grep -q "trial $trial: the lease ran out and another worker has it" || fail "the thawed worker did not say that it was late"
test -n "$cancelled" || fail "no worker was running to be cancelled"
grep -q CANCELLED "worker$cancelled.txt"
counts '32|32' 'select count(*), count(distinct number) from anas.ends'
counts 32 "select count(*) from anas.trials where state = 'COMPLETE'"
same_as_alone
says '32 trials, 64 files; 0 problems$' anas-search fsck "$uri"
