#!/usr/bin/env bash
# The Privileged Students, from raw data to the report: about an hour of two cores.
#   privileged_students.sh TSM [KEY=VALUE ...]
# TSM is a folder of LANGUAGE/{train,validation,test}.parquet with text, label and lang: the six
# languages ar, de, en, es, fr, it of cardiffnlp/tweet_sentiment_multilingual. The encoder:
#   hf download intfloat/multilingual-e5-small --local-dir models/multilingual-e5-small
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
tsm=${1:?a folder of tweets; the head of this script says which}
shift
tweets "$tsm"
exec raykd sweep "$here/privileged_students.yaml" train.precision="$precision" "$@"
