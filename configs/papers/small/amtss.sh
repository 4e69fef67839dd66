#!/usr/bin/env bash
# AMTSS, from raw data to the report: about an hour of two cores.
#   amtss.sh TSM [KEY=VALUE ...]
# TSM and the encoder: the head of privileged_students.sh says what they are.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
tsm=${1:?a folder of tweets; the head of this script says which}
shift
tweets "$tsm"
of_stages=()
for stage in en fr ar es three-languages; do
    of_stages+=("stages.$stage.overrides.train.precision=$precision")
done
exec raykd sweep "$here/amtss.yaml" train.precision="$precision" "${of_stages[@]}" "$@"
