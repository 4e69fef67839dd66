#!/usr/bin/env bash
# Distillation from a weak teacher, from raw data to the report: about half an hour of two cores.
#   dwt.sh TEXT [KEY=VALUE ...]
# TEXT is a folder with English text, some 5 MB: books_en/train.parquet (eight novels of Project
# Gutenberg), wiki_paragraphs/en/{train,validation}.parquet (the passages of MLQA and TyDi QA) and
# wikitext2/validation.parquet, each with a column text. Other text gives other figures.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
text=${1:?a folder of English text; the head of this script says which}
shift
of_text "$text"
raykd prepare "${sources[@]}" --output data/english-2k --language en --pack --lowercase \
    --vocab-size 2000 --max-length 64 --validation-fraction 0.02
exec raykd sweep "$here/dwt.yaml" train.precision="$precision" "$@"
