#!/bin/bash
# One job in sixteen shards, as an array: sbatch slurm-array.sh
# Submit it again, and it makes what is missing; `batch-reimagine status "$OUT"` sums all tasks.
# Budget, rpm and max-calls are of the whole job: every task takes its part of them.
#SBATCH --job-name=reimagine
#SBATCH --array=1-16
#SBATCH --cpus-per-task=2
#SBATCH --mem=1G
#SBATCH --time=12:00:00
#SBATCH --output=reimagine-%A-%a.log
# SIGTERM three minutes before the end: no new call is begun, those in flight are kept.
#SBATCH --signal=TERM@180
#SBATCH --requeue
set -euo pipefail

# Both on a file system that all nodes see, and whose locks hold between them.
PHOTOS=${PHOTOS:-$HOME/photos}
OUT=${OUT:-$HOME/out}
# Not in this file, and in no job's environment: a file that only you may read.
export NOVITA_API_KEY_FILE=${NOVITA_API_KEY_FILE:-$HOME/.novita-key}

# The count of the array that was given. Not SLURM_ARRAY_TASK_MAX: `--array=3` alone, to do one
# of them again, must stay the third of sixteen.
SHARDS=${SHARDS:-16}

# srun passes signals on to the program; a shell would keep them to itself.
exec srun batch-reimagine run "$PHOTOS" -o "$OUT" -n 4 \
  --shard "$SLURM_ARRAY_TASK_ID/$SHARDS" \
  --rpm 600 --price 0.01 --budget 400 --json
