#!/usr/bin/env bash
# Runs the acceptance program through every scenario on a machine with a GPU,
# shows what it says, and holds status and output against what is wanted.
#
# usage: bash poc/nemotron-cuda-cpp/scenarios.sh PROGRAM DIR [DIR...]
#
#   CGO_ENABLED=0 go build -o nemotron-cuda-cpp ./poc/nemotron-cuda-cpp
#   python3 bench/make_model.py mini-4b /dev/shm/mini --tokenizer testdata/tiny-dense
#   bash poc/nemotron-cuda-cpp/scenarios.sh ./nemotron-cuda-cpp /dev/shm/mini
#
# DIR are checkpoints with a tokenizer; all of them are run, the faults are
# tried with the first. Too little memory is made with PyTorch; a missing driver
# and a fault of the device by testdata/faults.c, which gcc compiles. Where
# either is missing the scenario fails.
set -u
program=$(realpath "${1:?usage: scenarios.sh PROGRAM DIR [DIR...]}")
model=${2:?usage: scenarios.sh PROGRAM DIR [DIR...]}
shift
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# try NAME STATUS STDOUT STDERR COMMAND... runs a command; the two are patterns
# that each stream must match, "" for a stream that must be empty, "-" for any.
try() {
	local name=$1 want=$2 out=$3 err=$4 got
	shift 4
	printf '\n# %s\n$ %s\n' "$name" "${*//$program/nemotron-cuda-cpp}"
	timeout 60 "$@" >"$work/out" 2>"$work/err"
	got=$?
	cut -c1-600 "$work/out" "$work/err"
	if [ "$got" = "$want" ] && matches "$out" "$work/out" && matches "$err" "$work/err"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "!! got status $got, want $want, stdout like '$out' and stderr like '$err'"
	fi
}

matches() {
	case $1 in
	-) ;;
	"") ! [ -s "$2" ] ;;
	*) tr '\n' ' ' <"$2" | grep -qE -e "$1" ;;
	esac
}

statistics() {
	echo "load time: +[0-9.]+ s +prompt tokens: +[0-9]+ +prompt time: +[0-9.]+ s +generated tokens: +$1 +generation time: +[0-9.]+ s +tokens per second: +[0-9.]+"
}

for dir in "$@"; do
	try "$(basename "$dir"): one token" 0 '[^ ]' "$(statistics 1)" "$program" --model "$dir" --prompt Hello --max-tokens 1
	try "$(basename "$dir"): 37 tokens" 0 '[^ ]' "$(statistics 37)" "$program" --model "$dir" --prompt Hello --max-tokens 37
	try "$(basename "$dir"): 100 tokens, the default" 0 '[^ ]' "$(statistics 100)" "$program" --model "$dir" --prompt Hello
done
printf 'It was a bright cold day in April, and the clocks were striking' >"$work/prompt.txt"
try "a prompt from a file, and what is being done" 0 '[^ ]' "running on GPU 0.*$(statistics 5)" "$program" --model "$model" --prompt-file "$work/prompt.txt" --max-tokens 5 --verbose
try "help" 0 "" "-max-tokens" "$program" --help

try "no such directory" 1 "" "error: open /nowhere: stat /nowhere: no such file or directory" "$program" --model /nowhere --prompt Hello
try "not a directory" 1 "" "error: open .*config.json: not a directory" "$program" --model "$model/config.json" --prompt Hello
mkdir "$work/empty" "$work/weightless"
try "no configuration" 1 "" "error: open .*config.json is missing" "$program" --model "$work/empty" --prompt Hello
cp "$model/config.json" "$work/weightless"
try "no weights" 1 "" "error: open .*(safetensors|index)" "$program" --model "$work/weightless" --prompt Hello
try "no prompt file" 1 "" "error: open /nowhere.txt: no such file or directory" "$program" --model "$model" --prompt-file /nowhere.txt

try "no such device" 1 "" "error: CUDA is not available: there is no device 99: this machine has [0-9]+" "$program" --model "$model" --prompt Hello --device 99
try "no device" 1 "" "error: CUDA is not available: cuInit: CUDA_ERROR_NO_DEVICE \(100\)" env CUDA_VISIBLE_DEVICES= "$program" --model "$model" --prompt Hello
if gcc -shared -fPIC -o "$work/faults.so" "$here/testdata/faults.c" -ldl; then
	try "no driver" 1 "" "error: CUDA is not available: no NVIDIA driver: tried" env FAULT=hide LD_PRELOAD="$work/faults.so" "$program" --model "$model" --prompt Hello
	try "the device fails while it generates" 1 - "error: .*CUDA_ERROR_ILLEGAL_ADDRESS \(700\)" env FAULT=20 LD_PRELOAD="$work/faults.so" "$program" --model "$model" --prompt Hello
else
	failed=$((failed + 2))
fi

# fill leaves so many GB of the device free and says so, until it is killed.
fill() {
	exec python3 -c '
import sys, time, torch
keep = []
def take():
    free, _ = torch.cuda.mem_get_info()
    more = int(free - float(sys.argv[1]) * 1e9)
    if more > 2**21:
        keep.append(torch.empty(more, dtype=torch.uint8, device="cuda"))
take()
print("full", flush=True)
time.sleep(60)
' "$1"
}
coproc fill 3
read -r -t 40 line <&"${COPROC[0]}"
if [ "${line:-}" = full ]; then
	try "another process holds the memory" 1 "" "error: open .*not enough memory: the weights need .* are needed .* of the .* free in NVIDIA .* may be used" "$program" --model "$model" --prompt Hello
else
	echo "!! the memory could not be filled"
	failed=$((failed + 1))
fi
[ -z "${COPROC_PID:-}" ] || kill "$COPROC_PID"
printf '\n%d scenarios as wanted, %d not\n' "$passed" "$failed"
[ "$failed" = 0 ]
