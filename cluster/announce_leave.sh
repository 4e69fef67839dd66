#!/usr/bin/env bash
# Wait for the notice that a spot machine gets before it is taken away, and tell Ray: runs leave it
# with a checkpoint. It asks the cloud's metadata service every two seconds.
#   announce_leave.sh aws | gcp
set -euo pipefail

poll_seconds=2
metadata=${RAYKD_METADATA:-http://169.254.169.254}

main() {
    case "${1:-}" in
        aws) until is_taken_on_aws; do sleep "$poll_seconds"; done && announce 120 ;;
        gcp) until is_taken_on_gcp; do sleep "$poll_seconds"; done && announce 30 ;;
        *) sed -n '2,4s/^# //p' "$0" >&2 && exit 2 ;;
    esac
}

announce() {
    ray drain-node --reason DRAIN_NODE_REASON_PREEMPTION --reason-message "the machine is taken away" \
        --deadline-remaining-seconds "$1"
}

is_taken_on_aws() {
    local session
    session=$(ask --request PUT --header "X-aws-ec2-metadata-token-ttl-seconds: 60" \
        "$metadata/latest/api/token") || return 1
    # Answers 404 until there is a notice.
    ask --header "X-aws-ec2-metadata-token: $session" \
        "$metadata/latest/meta-data/spot/instance-action" >/dev/null
}

is_taken_on_gcp() {
    [ "$(ask --header "Metadata-Flavor: Google" \
        "$metadata/computeMetadata/v1/instance/preempted")" = TRUE ]
}

ask() {
    curl --silent --fail --max-time 5 "$@"
}

main "$@"
