#!/usr/bin/env bash
# Runs the tests of a package on a GPU under NVIDIA's compute-sanitizer, each in
# a process of its own and within a time, and prints a line for each.
#
# usage: bash tools/sanitize.sh BINARY [PATTERN]
#
#   CGO_ENABLED=0 go test -c -o kernels.test ./internal/kernels
#   bash tools/sanitize.sh ./kernels.test                 # all tests, all tools
#   TOOLS=racecheck bash tools/sanitize.sh ./kernels.test 'Attend|Graphs'
#
# BINARY needs neither Go nor the sources where it runs. Tests run with
# -test.short, which keeps a part of their cases: racecheck can be a thousand
# times slower than the kernels alone. Set in the environment:
#
#   TOOLS  memcheck racecheck initcheck
#   EACH   seconds that a test may take under a tool (60)
#   TOTAL  seconds after which no test begins (600)
#   JOBS   tests at a time (6)
#   LOGS   folder for the full reports (build/sanitize)
#
# The exit status is 0 if every test ended and no tool found anything.
set -u
binary=${1:?usage: bash tools/sanitize.sh BINARY [PATTERN]}
pattern=${2:-.}
export TOOLS=${TOOLS:-memcheck racecheck initcheck} EACH=${EACH:-60} TOTAL=${TOTAL:-600} JOBS=${JOBS:-6}
export LOGS=${LOGS:-build/sanitize}
export binary began
began=$(date +%s)
sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
export sanitizer
mkdir -p "$LOGS"
rm -f "$LOGS"/*.line

# one TOOL TEST runs a test under a tool.
one() {
	local tool=$1 test=$2 log="$LOGS/$1.$2" from found status result
	from=$EPOCHREALTIME
	if (($(date +%s) - began >= TOTAL)); then
		result="not run: no time left"
	else
		timeout -k 5 "$EACH" "$sanitizer" --tool "$tool" --error-exitcode 86 --print-limit 50 --log-file "$log.report" \
			"$binary" -test.run "^$test\$" -test.short -test.v >"$log.out" 2>&1
		status=$?
		found=$(sed -n 's/.*\(ERROR\|RACECHECK\) SUMMARY: //p' "$log.report" 2>/dev/null | tail -1)
		case $status in
		0) result=clean ;;
		86) result="FOUND ${found:-something}" ;;
		124 | 137) result="no end within $EACH s" ;;
		*) result="FAILED with status $status, ${found:-see $log.out}" ;;
		esac
		if [ "$status" = 0 ] && grep -q -e "^--- SKIP: $test " -e "needs a GPU" "$log.out"; then
			result=skipped
		fi
	fi
	printf '%-9s  %-34s  %6.1f s  %s\n' "$tool" "$test" "$(awk "BEGIN { print $EPOCHREALTIME - $from }")" "$result" | tee "$LOGS/$tool.$test.line"
}
export -f one

for tool in $TOOLS; do
	"$binary" -test.list "$pattern" | grep '^Test' | sed "s/^/$tool /"
done | xargs -P "$JOBS" -L 1 bash -c 'one "$@"' one

awk '{ n++ } / clean$/ { ok++ } / skipped$/ { skip++ }
	END { printf "%d runs: %d clean, %d skipped, %d not\n", n, ok, skip, n - ok - skip; exit n == 0 || ok + skip < n }' "$LOGS"/*.line
