#!/usr/bin/env bash
# Compiles the kernels whose sources have changed. Arguments go to the
# compiler's driver: see go run ./tools/kernels -help.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=${GODWIT_NVRTC_VENV:-build/nvrtc}
if ! ls "$venv"/lib/python3*/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12 >/dev/null 2>&1; then
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet nvidia-cuda-nvrtc-cu12==12.8.93 nvidia-cuda-runtime-cu12==12.8.90
fi
packages=$(cd "$venv"/lib/python3*/site-packages/nvidia && pwd)
# The compiler looks for its built-in functions on the loader's path.
export LD_LIBRARY_PATH="$packages/cuda_nvrtc/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
CGO_ENABLED=0 exec go run ./tools/kernels \
	-nvrtc "$packages/cuda_nvrtc/lib/libnvrtc.so.12" -include "$packages/cuda_runtime/include" "$@"
