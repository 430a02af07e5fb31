#!/usr/bin/env bash
# Figures of hybrid models on a GPU: single steps, long contexts, states in 16
# bits, loading of many shards, beside transformers.
#
#   bench/hybrid.sh [GODWIT] [part ...]
#
# GODWIT is the binary, build/godwit by default. Parts, by default those marked
# with *, which take about three minutes on an H200:
#
#   steps*         3-Nano and Nano-9B-v2 at batch 1 to 256, a prompt of 8,192
#   ledger*        where a step of 3-Nano goes, at batch 1 and 64
#   states*        3-Nano at batch 256, with states in float32 and in float16
#   long*          131,072 tokens of context in one sequence
#   transformers*  both on the same checkpoint, seven layers of 3-Nano
#   load           all of 3-Nano, 63 GB in thirteen files, from the page cache
#
# Environment: PYTHON (python3), FAST (/dev/shm/godwit-bench; 12 GB, with load
# 63 GB more). Checkpoints that are there already are used again, and stay.
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/parts.sh
godwit=${1:-build/godwit}
[ $# -gt 0 ] && shift
parts=${*:-steps ledger states long transformers}
python=${PYTHON:-python3} fast=${FAST:-/dev/shm/godwit-bench}
nano=bench/geometries/3-nano-30b-a3b.json

# bench CONFIG FLAGS of godwit bench on random weights.
bench() { run "$godwit" bench --device cuda --config "$@"; }

# model NAME FLAGS of make_model.py makes a checkpoint of 3-Nano once.
model() {
	[ -e "$fast/$1/config.json" ] || run "$python" bench/make_model.py $nano "$fast/$1" --tokenizer testdata/tiny-dense "${@:2}"
}

steps() {
	bench $nano --prompt 512 --decode 128 --batch 1,8,64 --repeat 3
	bench $nano --prompt 512 --decode 256 --batch 256 --repeat 2
	bench $nano --prompt 8192 --decode 32 --batch 1 --repeat 2
	bench bench/geometries/nano-9b-v2.json --prompt 512 --decode 128 --batch 1,64 --repeat 3
}

ledger() {
	run "$python" bench/ledger.py $nano --godwit "$godwit"
	run "$python" bench/ledger.py $nano --godwit "$godwit" --batch 64 --repeat 2
}

states() {
	local kept
	for kept in float32 float16; do
		bench $nano --prompt 512 --decode 256 --batch 256 --repeat 2 --state-type $kept
	done
}

long() { bench $nano --prompt 131000 --decode 72 --batch 1 --repeat 1; }

transformers() {
	model 3-nano-slice --pattern MEMEM*E
	run "$python" bench/beside_transformers.py "$fast/3-nano-slice" --godwit "$godwit" --prompt 512 --decode 32 --batch 1,8
}

load() {
	model 3-nano --shards 13
	run "$godwit" bench --device cuda --model "$fast/3-nano" --prompt 512 --decode 64 --batch 1 --repeat 1
	run "$python" bench/process.py "$godwit" run --device cuda --model "$fast/3-nano" --max-tokens 1 Hello
}

run_parts $parts
