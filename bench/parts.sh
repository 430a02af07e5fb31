# What the scripts share that measure in parts: read by dense.sh and hybrid.sh.

failed=0

# run shows a command and runs it. One that fails does not end the others.
run() {
	printf '\n$ %s\n' "$*"
	"$@" || {
		echo "!! status $?"
		failed=1
	}
}

# run_parts runs functions by their names, says when each began, and exits with
# 1 if a command of theirs failed.
run_parts() {
	local part
	for part; do
		printf '\n== %s, %d s\n' "$part" $SECONDS
		"$part"
	done
	printf '\n%d s\n' $SECONDS
	exit $failed
}
