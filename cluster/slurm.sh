#!/usr/bin/env bash
# Run raykd on a Ray cluster of its own inside a Slurm job, all nodes of which train:
#   sbatch cluster/slurm.sh sweep configs/sweeps/demo.yaml cluster.gpus_per_worker=1 KEY=VALUE ...
#   sbatch cluster/slurm.sh train configs/runs/demo_teacher.yaml cluster.gpus_per_worker=1 KEY=VALUE ...
# The same command again, or scontrol requeue, goes on where it stands. The directory and the
# Python environment must be on every node, as on a shared file system.
#SBATCH --job-name=raykd
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=12:00:00
#SBATCH --requeue
# Two minutes before the end, so that runs leave with a checkpoint.
#SBATCH --signal=B:TERM@120
set -euo pipefail

start_seconds=300
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
scratch=/tmp/raykd-$SLURM_JOB_ID
# One process on one node, beside what this job has there already.
step=(srun --overlap --nodes=1 --ntasks=1 --cpus-per-task="$SLURM_CPUS_PER_TASK")
running=()

# Ray's token: in the environment of this job's processes alone, new for every job.
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
# Ray ends after the program: there is nothing left that would leave its nodes.
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0

main() {
    trap clean_up EXIT
    local ports
    # Other jobs may be on the same machines.
    read -r -a ports < <(on "$head" python -c "$free_ports" 3)
    local address
    address=$(address_of "$head"):${ports[0]}
    # Who submits jobs is here, so the dashboard listens on loopback alone.
    start_ray "$head" --head --port="${ports[0]}" --dashboard-host=127.0.0.1 \
        --dashboard-port="${ports[1]}" --ray-client-server-port="${ports[2]}"
    wait_for_nodes "$address" 1
    local node
    for node in "${nodes[@]:1}"; do
        start_ray "$node" --address="$address"
    done
    wait_for_nodes "$address" "${#nodes[@]}"
    run raykd "$@" --address "$address"
}

# Run a program on one node.
on() {
    local node=$1
    shift
    "${step[@]}" --nodelist="$node" "$@"
}

# The address by which the other nodes know a node.
address_of() {
    getent ahostsv4 "$1" | awk 'NR == 1 {print $1}'
}

start_ray() {
    local node=$1 agent_port
    shift
    agent_port=$(on "$node" python -c "$free_ports" 1)
    # Not by on: a signal is to reach srun, not a shell in front of it.
    "${step[@]}" --nodelist="$node" ray start "$@" --block --node-ip-address="$(address_of "$node")" \
        --num-cpus="$SLURM_CPUS_PER_TASK" --temp-dir="$scratch" \
        --dashboard-agent-listen-port="$agent_port" &
    running+=("$!")
}

wait_for_nodes() {
    on "$head" timeout "$start_seconds" python -c "$await_nodes" "$1" "$2" || {
        echo "slurm.sh: fewer than $2 of ${#nodes[@]} nodes are in Ray after $start_seconds s" >&2
        exit 1
    }
}

# Run a program to its end; pass on what Slurm says before the time is over.
run() {
    local status=0
    # Of $!: it is the program as soon as there is one.
    trap 'kill -TERM "$!"' TERM
    "$@" &
    wait "$!" || status=$?
    # A signal ends the waiting, not the program.
    while kill -0 "$!" 2>/dev/null; do
        status=0
        wait "$!" || status=$?
    done
    return "$status"
}

# shellcheck disable=SC2329  # by trap
clean_up() {
    [ "${#running[@]}" -eq 0 ] || kill -TERM "${running[@]}" 2>/dev/null || true
    wait
    local node
    for node in "${nodes[@]}"; do
        on "$node" rm -rf "$scratch"
    done
}

# Above those of Ray's workers, below those that the system gives to connections.
free_ports='
import random, socket, sys
sockets = []
while len(sockets) < int(sys.argv[1]):
    try:
        sockets.append(socket.create_server(("", random.randrange(20000, 32768))))
    except OSError:
        pass
print(*(s.getsockname()[1] for s in sockets))'

await_nodes='
import sys, time
from ray._raylet import GcsClient
from ray.exceptions import RpcError
address, wanted = sys.argv[1], int(sys.argv[2])
while True:
    try:
        nodes = GcsClient(address=address).get_all_node_info()
        if sum(node.state == 0 for node in nodes.values()) >= wanted:
            break
    except RpcError:
        pass
    time.sleep(1)'

main "$@"
exit
