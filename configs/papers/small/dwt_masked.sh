#!/usr/bin/env bash
# Distillation from a weak teacher with masked words and probes, from raw data to the report: some
# hours of two cores.
#   dwt_masked.sh TEXT PROBES [KEY=VALUE ...]
# TEXT is as for dwt.sh. PROBES is a folder with glue/sst2 (stanfordnlp/sst2), cls/banking77
# (PolyAI/banking77) and pos/ud/en_ewt (UD English EWT), each of {train,validation}.parquet; its own
# tokenizer reads them.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
text=${1:?a folder of English text; the head of this script says which}
probes=${2:?a folder of the data of probes; the head of this script says which}
shift 2
of_text "$text"
needs "$probes"/{glue/sst2,cls/banking77,pos/ud/en_ewt}/{train,validation}.parquet
raykd prepare "${sources[@]}" --output data/english-4k-rows --language en --pack --lowercase \
    --vocab-size 4000 --max-length 64 --validation-fraction 0.02
# probe NAME FOLDER OPTION...
probe() {
    raykd prepare "$probes/$2/train.parquet" --validation "$probes/$2/validation.parquet" \
        --output "data/$1" --tokenizer data/english-4k-rows --max-length 64 "${@:3}"
}
probe sst2 glue/sst2 --label-column label --task sequence_classification
probe banking77 cls/banking77 --label-column label_text --task sequence_classification
probe pos pos/ud/en_ewt --word-column tokens --word-label-column tags --task token_classification
of_probes=()
for name in sst2 banking77 pos; do
    of_probes+=("probes.$name.overrides.train.precision=$precision")
done
exec raykd sweep "$here/dwt_masked.yaml" train.precision="$precision" "${of_probes[@]}" "$@"
