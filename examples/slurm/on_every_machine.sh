#!/bin/bash
# Not run: takes the arguments of `accelerate launch` and runs it once on every machine of the job (VSD_LAUNCHER).
set -euo pipefail
export MAIN_MACHINE
MAIN_MACHINE=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
exec srun --nodes="$SLURM_NNODES" --ntasks-per-node=1 --kill-on-bad-exit=1 bash -c '
  exec python -m accelerate.commands.launch --num_machines "$SLURM_NNODES" --machine_rank "$SLURM_NODEID" \
    --main_process_ip "$MAIN_MACHINE" --main_process_port 29500 "$@"' on_every_machine "$@"
