# Shortcuts; every target is one command that can be typed as well.
.PHONY: build test check bench kernels emulate goldens external fuzz

build: ## the binary
	CGO_ENABLED=0 go build -trimpath -o build/godwit ./cmd/godwit

test: ## all tests
	go test ./...

check: ## what CI runs
	bash .ci/run

bench: ## benchmarks of the CPU
	go test -run '^$$' -bench . -benchtime 1s . ./internal/ops ./internal/vec ./internal/tokenizer

kernels: ## the images of the CUDA kernels whose sources changed, see docs/KERNELS.md
	bash tools/kernels/build.sh

emulate: ## all cases of the kernels' tests without a GPU
	go test -timeout 3h ./internal/kernels -cases
	go test -timeout 3h -run '^TestCUDA' . -cases

external: ## real tokenizers and templates to compare with, into testdata/external
	bash tools/tokenizer/fetch.sh
	bash tools/templates/fetch.sh

goldens: ## reference numbers, see tools/goldens/README.md
	python3 tools/goldens/make.py --check

fuzz: ## every fuzz target for a minute
	bash tools/fuzz.sh 1m
