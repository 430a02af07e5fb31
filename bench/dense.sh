#!/usr/bin/env bash
# Figures of dense models on a GPU beside those of single steps: device memory,
# loading, with and without cuBLASLt, beside transformers.
#
#   bench/dense.sh [GODWIT] [part ...]
#
# GODWIT is the binary, build/godwit by default. Parts, by default those marked
# with *, which take about three minutes on an H200:
#
#   memory*        what the driver takes, and what a model takes over its plan
#   load*          from the page cache; a whole process to its first token
#   cold*          from a disk, in turn with a plain reader of the same file
#   library*       prompts by cuBLASLt and by the built-in products
#   decode*        batch 1 at 512 and 4,000 tokens of context, 8 and 64
#   transformers*  both on the same checkpoint
#   compiled       the same, and transformers compiled (a minute more)
#   large          the 15B geometry, from 4 shards
#
# Environment: PYTHON (python3), FAST (/dev/shm/godwit-bench; 8.4 GB, with large
# 31 GB more), DISK (/var/tmp/godwit-bench, 8.4 GB on the disk to measure).
# Checkpoints that are there already are used again, and stay.
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/parts.sh
godwit=${1:-build/godwit}
[ $# -gt 0 ] && shift
parts=${*:-memory load cold library decode transformers}
python=${PYTHON:-python3} fast=${FAST:-/dev/shm/godwit-bench} disk=${DISK:-/var/tmp/godwit-bench}

# model NAME [SHARDS] makes a checkpoint once.
model() {
	[ -e "$fast/$1/config.json" ] || "$python" bench/make_model.py "$1" "$fast/$1" --tokenizer testdata/tiny-dense --shards "${2:-1}"
}

# bench FLAGS of godwit bench on the checkpoint of mini-4b.
bench() { run "$godwit" bench --device cuda --model "$fast/mini-4b" "$@"; }

memory() {
	local stack
	run "$python" bench/context.py --images internal/kernels/images
	for stack in 0 256; do
		run "$python" bench/context.py --stack $stack
	done
	bench --prompt 512 --decode 64 --batch 1 --repeat 1
}

load() {
	for _ in 1 2 3; do
		run "$python" bench/process.py "$godwit" run --device cuda --model "$fast/mini-4b" --max-tokens 1 Hello
	done
}

cold() {
	mkdir -p "$disk/mini-4b"
	cp -u "$fast"/mini-4b/* "$disk/mini-4b/"
	local file="$disk/mini-4b/model.safetensors"
	for _ in 1 2 3; do # disks that others use, too, vary: compare medians
		run "$python" bench/read_file.py "$file"
		run "$python" bench/read_file.py "$file" --drop
		run "$godwit" bench --device cuda --model "$disk/mini-4b" --prompt 16 --decode 4 --repeat 1
	done
	run "$python" bench/read_file.py "$file" --drop
	run "$python" bench/process.py "$godwit" run --device cuda --model "$disk/mini-4b" --max-tokens 1 Hello
}

library() {
	local hide tokens
	for hide in "" 1; do
		for tokens in 512 2048; do
			GODWIT_NO_CUBLASLT=$hide bench --prompt $tokens --decode 8 --batch 1 --repeat 3
		done
	done
}

decode() {
	bench --prompt 512 --decode 128 --batch 1,8,64 --repeat 3
	bench --prompt 4000 --decode 64 --batch 1 --repeat 2
}

transformers() {
	run "$python" bench/beside_transformers.py "$fast/mini-4b" --godwit "$godwit" --prompt 512 --decode 96 --batch 1,64 "$@"
}

compiled() { transformers --compile; }

large() {
	model 15b 4
	run "$python" bench/process.py "$godwit" run --device cuda --model "$fast/15b" --max-tokens 100 Hello
	run "$godwit" bench --device cuda --model "$fast/15b" --prompt 512 --decode 64 --batch 1 --repeat 3
}

model mini-4b
run_parts $parts
