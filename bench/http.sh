#!/usr/bin/env bash
# What HTTP costs under load: many requests at a time to the engine alone (godwit
# bench), and the same through godwit serve, whose clients stream each token.
#
#   bench/http.sh [GODWIT] [HTTPLOAD]
#
# GODWIT is the binary, build/godwit by default; HTTPLOAD the clients,
# build/httpload by default: CGO_ENABLED=0 go build -o build/httpload ./tools/httpload
# The last three lines are both rates and their ratio. It takes 45 seconds on an
# H200, of which ten to make the checkpoint.
#
# Environment: MODEL (/dev/shm/godwit-bench/mini-4b, made if it is not there), DEVICE
# (cuda), PROMPT (512), DECODE (256), CONCURRENCY (128), REQUESTS (three for each in
# flight), ROUNDS (1: of more, in turn, the medians count), PORT (8765), PYTHON
# (python3, with torch if the checkpoint is to be made).
set -euo pipefail
cd "$(dirname "$0")/.."
godwit=${1:-build/godwit} client=${2:-build/httpload}
model=${MODEL:-/dev/shm/godwit-bench/mini-4b} device=${DEVICE:-cuda} python=${PYTHON:-python3} port=${PORT:-8765}
prompt=${PROMPT:-512} decode=${DECODE:-256} concurrency=${CONCURRENCY:-128} rounds=${ROUNDS:-1}
requests=${REQUESTS:-$((3 * concurrency))}
work=$(mktemp -d)
server=

# stop ends the server and waits until it has given the device back.
stop() {
	[ -z "$server" ] || { kill "$server" && wait "$server"; } || true
	server=
}
trap 'stop; rm -rf "$work"' EXIT

[ -e "$model/config.json" ] || "$python" bench/make_model.py "$(basename "$model")" "$model" --tokenizer testdata/tiny-dense
vocabulary=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["vocab_size"])' "$model/config.json")

engine() {
	"$godwit" bench --device "$device" --model "$model" --prompt "$prompt" --decode "$decode" \
		--concurrency "$concurrency" --requests "$requests" --json >"$work/engine.$1"
}

# http measures as engine does: the same lengths, number of requests and warm-up,
# and room for as many in the engine.
http() {
	"$godwit" serve --device "$device" --model "$model" --port "$port" --no-page \
		--context $((prompt + decode)) --max-sequences "$concurrency" 2>"$work/log" &
	server=$!
	TIMEFORMAT='clients: %U s of processor time, %S s more in the system'
	time "$client" -url "http://127.0.0.1:$port" -prompt "$prompt" -decode "$decode" -vocabulary "$vocabulary" \
		-concurrency "$concurrency" -requests "$requests" >"$work/http.$1" || { tail "$work/log" >&2; exit 1; }
	stop
	cat "$work/http.$1"
}

for ((round = 1; round <= rounds; round++)); do
	engine $round
	http $round
done

"$python" - "$work" <<'END'
import glob, json, statistics, sys

def rates(kind, rate):
    return [rate(json.load(open(name))) for name in sorted(glob.glob(f"{sys.argv[1]}/{kind}.*"))]

def level(report):
    (one,) = report["levels"]
    assert one["failed_requests"] == 0, one
    return one

levels = rates("engine", level)
answers = rates("http", lambda report: report)
for one, answer in zip(levels, answers):
    got = (answer["requests"], answer["output_tokens"])
    want = (one["requests"], one["output_tokens"])
    assert got == want, f"over HTTP {got} requests and tokens, the engine alone {want}"
print(f"{answers[0]['requests']} requests of {answers[0]['output_tokens'] // answers[0]['requests']} tokens each way, "
      f"{answers[0]['events_per_token']:.3f} events a token")
alone = statistics.median(one["output_tokens_per_second"] for one in levels)
http = statistics.median(answer["output_tokens_per_second"] for answer in answers)
print(f"engine alone {alone:10.1f} tokens/s")
print(f"over HTTP    {http:10.1f} tokens/s")
print(f"ratio        {http / alone:10.3f}, HTTP costs {100 * (1 - http / alone):.1f} % of throughput")
END
