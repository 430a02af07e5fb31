#!/usr/bin/env bash
# Runs every fuzz target for the given time: tools/fuzz.sh 5m
set -euo pipefail
cd "$(dirname "$0")/.."
for package in $(go list ./...); do
	for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "$package $target"
		go test "$package" -run "^$" -fuzz "^$target\$" -fuzztime "${1:-1m}" -fuzzminimizetime 3s
	done
done
