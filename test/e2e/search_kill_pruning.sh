#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# search_kill.sh with trials that pause at rungs: a kill may come between a pause, the decision and going on.
ANAS_KILLS=${ANAS_KILLS:-8} ANAS_KILL_FLAGS="--pruner halving --reduction-factor 2 --min-epochs 0.5" exec sh "${0%_pruning.sh}.sh"
