# What the scripts of the three studies have in common. They are run where data/, models/, runs/ and
# sweeps/ are to lie, and again after whatever stopped them: what is done is found.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# needs FILE...: what of raw data and models is not there is told before any work.
needs() {
    local file
    for file in "$@"; do
        if ! compgen -G "$file" > /dev/null; then
            echo "$(basename "$0"): $file is not there; the head of this script says what it is" >&2
            exit 2
        fi
    done
}

# bfloat16 where the CPU multiplies in it.
precision=float32
if grep -qE 'amx_bf16|avx512_bf16' /proc/cpuinfo 2> /dev/null; then
    precision=bfloat16
fi

# of_text FOLDER: the files of English text, as sources.
of_text() {
    sources=(
        "$1/books_en/train.parquet" "$1/wiki_paragraphs/en/train.parquet"
        "$1/wiki_paragraphs/en/validation.parquet" "$1/wikitext2/validation.parquet"
    )
    needs "${sources[@]}"
}

# tweets FOLDER: tweets in six languages, as a multilingual encoder reads them.
tweets() {
    needs "$1/*/train.parquet" "$1/*/validation.parquet" "$1/*/test.parquet"
    needs models/multilingual-e5-small/config.json
    raykd prepare "$1/*/train.parquet" --validation "$1/*/validation.parquet" \
        --split "test=$1/*/test.parquet" --output data/sentiment-e5 --label-column label \
        --language-column lang --tokenizer models/multilingual-e5-small --max-length 64 \
        --task sequence_classification
}
