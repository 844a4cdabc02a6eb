# Antiphon's commands. `make` lists them; `make demo` and `make test` set up whatever they need first.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

TARGET := $(or $(CARGO_TARGET_DIR),target)
# A toolchain installed a minute ago need not be on the PATH yet; our own cargo tools never are.
export PATH := $(abspath $(TARGET))/tools/bin:$(PATH):$(HOME)/.cargo/bin
# One target folder for everything, the fuzz targets included, so that nothing is built twice.
export CARGO_TARGET_DIR := $(abspath $(TARGET))

# What tests and benches are built with: one set, so that nothing is built twice. ONNX models on rten are held to sherpa-onnx
# and Piper, Whisper on candle to transformers.
FEATURES := antiphon-models-onnx/rten,antiphon-models-candle/cpu

say = @printf '\n==> %s\n' '$(1)'
ANTIPHON := $(TARGET)/release/antiphon

.PHONY: help
help: ## List these commands
	@echo 'Antiphon: make COMMAND, where COMMAND is one of'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## Set up, build, and watch the machine answer a call; leaves recording and picture in demo-out/
	$(call say,The demo: a caller with a voice of its own rings the bank flow)
	$(ANTIPHON) demo

.PHONY: build
build: setup-run ## Set up and build the release binary
	$(call say,Release build (the first takes some minutes))
	cargo build --release --locked --package antiphon-engine-server
	@echo 'built $(ANTIPHON)'

.PHONY: test
test: setup-test lint deny fuzz-check test-doc bench-once test-features test-all ## Set up and run all that continuous integration runs
	@echo
	@echo 'make test: everything passed'

.PHONY: check
check: ## Quick, while working: format, lints, unit tests (no set-up)
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo nextest run --workspace --lib --bins

.PHONY: bench
bench: setup-run ## Measure: frame path, jitter buffer, codecs, calls a CPU (docs/PERFORMANCE.md)
	cargo bench --workspace --bench '*'

.PHONY: capacity
capacity: build ## Measure whole calls: CPU, memory, delay and set-up rate (takes minutes; needs jq and a quiet machine)
	scripts/capacity.sh

.PHONY: docs
docs: ## Build the API documentation, warnings denied
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps
	@echo 'open $(TARGET)/doc/antiphon_media_frame/index.html'

.PHONY: clean
clean: ## Remove everything that was built, and the demo's output
	cargo clean
	rm -rf demo-out

# The steps of the above, each of which runs alone too.

.PHONY: setup-run
setup-run:
	$(call say,Set-up)
	@scripts/setup.sh run

.PHONY: setup-test
setup-test:
	$(call say,Set-up)
	@scripts/setup.sh test

.PHONY: lint
lint:
	$(call say,Format)
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	$(call say,Scripts and links)
	shellcheck scripts/*.sh .ci/run
	scripts/check-links.sh
	$(call say,Lints and the features that are off by default)
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked --workspace --all-targets --all-features --exclude antiphon-models-candle -- -D warnings
	# Its features of cards want their makers' toolkits.
	cargo clippy --locked --package antiphon-models-candle --all-targets --features cpu -- -D warnings
	$(call say,API documentation)
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps

.PHONY: deny
deny:
	$(call say,Dependencies: licences and sources and bans)
	cargo deny --locked check --hide-inclusion-graph bans licenses sources

.PHONY: fuzz-check
fuzz-check:
	$(call say,Fuzz targets compile)
	cargo check --locked --manifest-path fuzz/Cargo.toml --bins

.PHONY: test-doc
test-doc:
	$(call say,Examples in the documentation)
	cargo test --locked --workspace --doc --features $(FEATURES)

.PHONY: bench-once
bench-once:
	$(call say,Benches run once as tests)
	cargo test --locked --workspace --bench '*' --features $(FEATURES)

.PHONY: test-features
test-features:
	$(call say,Tests of the speech engines with whisper among them)
	cargo nextest run --locked --package antiphon-models-backends --all-features
	$(call say,Tests of the codecs with G.729 among them)
	cargo nextest run --locked --package antiphon-media-codec --features g729

.PHONY: test-all
test-all:
	$(call say,Tests: units first and then real calls)
	cargo nextest run --locked --workspace --features $(FEATURES)
