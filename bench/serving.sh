#!/usr/bin/env bash
# Serving figures on a GPU: load of many requests, what prompts cost those that
# decode, shared prefixes, conversations. Weights are random, of the published
# geometries; every table says what the device's memory and arithmetic allow.
#
#   bench/serving.sh [GODWIT] [dense|hybrid|prefix ...]
#
# GODWIT is the binary, build/godwit by default. Without names everything runs,
# which takes about six minutes on an H200. The hybrid's 63 GB of weights and the
# states of 256 requests need a GPU of more than 80 GB.
set -euo pipefail
cd "$(dirname "$0")/.."
godwit=${1:-build/godwit}
[ $# -gt 0 ] && shift
parts=${*:-dense prefix hybrid}

run() {
	printf '\n$ godwit bench --device cuda %s\n' "$*"
	"$godwit" bench --device cuda "$@"
}

dense() {
	local mini="--config bench/geometries/mini-4b.json"
	run $mini --prompt 512 --decode 256 --concurrency 1,8 --requests 16
	run $mini --prompt 512 --decode 256 --concurrency 32,64 --requests 192
	run $mini --prompt 512 --decode 256 --concurrency 128,256 --requests 512
	# 32 decode while prompts of 8,192 tokens come in: their time between tokens
	# is bounded by a step of so many tokens.
	for budget in 512 2048; do
		run $mini --prompt 2048-8192 --decode 64-256 --concurrency 32 --requests 96 --step-tokens $budget
	done
}

prefix() {
	local name
	for name in mini-4b nano-9b-v2; do
		local config="--config bench/geometries/$name.json"
		# first token of 8,208 tokens: all computed, then all but 16 found
		run $config --prompt 8208 --decode 8 --concurrency 1 --requests 8 --no-prefix-cache
		run $config --prompt 16 --shared-prefix 8192 --decode 8 --concurrency 1 --requests 8
		# a conversation of ten turns: only new tokens are computed
		run $config --prompt 200 --decode 100 --turns 10 --concurrency 4 --requests 80
	done
}

hybrid() {
	local nano="--config bench/geometries/3-nano-30b-a3b.json"
	run $nano --prompt 1024 --decode 1024 --concurrency 256 --requests 400 --warmup 32
}

for part in $parts; do
	"$part"
done
