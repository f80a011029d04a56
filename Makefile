# Thin targets: what they do lies in ops/scripts and in the argosy command.
#
#   make demo     everything from nothing, then 100 jobs; JOBS=, SEED= and FAULT=0 vary it (make hands what
#                 is set on its command line to `argosy demo` as environment variables)
#   make drill    20,000 jobs while every process is killed at random, then the audit; JOBS= and SEED= vary it
#   make drill-upgrade   the recorded release (releases.toml) becomes this state while jobs flow; JOBS= and SEED=
#   make bench    what the fleet costs beside the broker that it lives on; PARTS="router fleet" for some parts
#   make up       the fleet, and it stays; ARGS=--simulate puts simulators in place of missing backends
#   make test     every test, the servers obtained the same way
#   make test-comfyui COMFYUI=DIR   the whole fleet against two servers of an installed ComfyUI, on its CPU;
#                 COMFYUI_PYTHON= is the Python that runs it (else that of DIR/.venv or DIR/venv, else python3)
#   make fuzz     bad bytes against every decoder, optimised; INPUTS= (ten million in all), SEED=
#   make migrations-under-load   the migrations of the next release beside ten million attempts; ATTEMPTS= varies it
#   make muted    turns each port call of the protocol into a no-op, one at a time, and simulates; MUTED=cancel.rs
#                 only those whose name has the words, SEEDS= so many lists for each
#   make lint     format, clippy, dependency rules
#   make fmt      formats the code

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo drill drill-cluster drill-upgrade bench up test test-comfyui fuzz muted migrations-under-load sql lint fmt servers build

PYTHON ?= python3
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-21s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: servers build ## run the main job on simulated providers (JOBS=100 SEED= FAULT=0)
	@exec "$(TARGET_DIR)/release/argosy" demo $(ARGS)

drill: servers build ## kill everything at random, then audit (JOBS=20000 SEED=1)
	@exec "$(TARGET_DIR)/release/argosy" drill $(ARGS)

drill-cluster: servers build ## the same on a broker of three nodes, killed and parted
	@exec "$(TARGET_DIR)/release/argosy" drill --nodes 3 $(ARGS)

drill-upgrade: servers build ## replace the last release's processes by these under load, then audit (JOBS=3000 SEED=1)
	@release="$$($(PYTHON) ops/scripts/release-binaries)"; \
	  exec "$(TARGET_DIR)/release/argosy" drill --upgrade-from "$$release" $(ARGS)

bench: servers build ## measure the fleet (PARTS="limit router fleet latency backlog workers fair submit decide ledger")
	@cargo bench --quiet -p policy
	@exec "$(TARGET_DIR)/release/argosy" bench $(PARTS) $(ARGS)

up: servers build ## run the fleet and stay (ARGS=--simulate)
	@exec "$(TARGET_DIR)/release/argosy" up $(ARGS)

test: ## run every test
	@$(PYTHON) ops/scripts/obtain --with-python-client
	cargo build --workspace --bins
	@if cargo nextest --version >/dev/null 2>&1; then \
	  cargo nextest run --workspace --no-fail-fast && cargo test --workspace --doc; \
	else \
	  cargo test --workspace; \
	fi

test-comfyui: servers ## the fleet against two real ComfyUI servers (COMFYUI=DIR COMFYUI_PYTHON=)
	@if [[ ! -f "$(COMFYUI)/main.py" ]]; then \
	  echo "give the folder of an installed ComfyUI: make test-comfyui COMFYUI=DIR" >&2; \
	  echo "(its requirements must be installed for COMFYUI_PYTHON, for DIR/.venv or DIR/venv, or for python3)" >&2; \
	  exit 2; \
	fi
	cargo build --workspace --bins
	@COMFYUI="$(abspath $(COMFYUI))" COMFYUI_PYTHON="$(COMFYUI_PYTHON)" cargo test -p tests --test it -- \
	  --ignored --nocapture real_comfyui_servers_do_what_the_worker_expects

fuzz: ## bad bytes against every decoder (INPUTS=10000000 SEED=)
	@FUZZ_INPUTS=$(or $(INPUTS),10000000) $(if $(SEED),FUZZ_SEED=$(SEED)) \
	  cargo test --release -p tests --test fuzz -- --nocapture

muted: ## mute each port call of the protocol in turn, and simulate (MUTED= SEEDS=)
	@$(if $(MUTED),MUTED=$(MUTED)) $(if $(SEEDS),MUTED_SEEDS=$(SEEDS)) \
	  cargo test -p tests --test it -- \
	  --ignored --nocapture a_muted_port_call_is_noticed

migrations-under-load: servers ## hold the next release's migrations against full tables (ATTEMPTS=10000000)
	@$(if $(ATTEMPTS),ATTEMPTS=$(ATTEMPTS)) cargo test --release -p trials --test it -- \
	  --ignored --nocapture migrations_let_reservations_go_on_beside_ten_million_rows

sql: ## check that .sqlx is what the queries and the migrations need
	@ops/scripts/sqlx-prepare --check

lint: ## format, clippy and dependency rules
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@if cargo deny --version >/dev/null 2>&1; then \
	  cargo deny check licenses bans sources; \
	else \
	  echo "cargo-deny is not installed: dependency rules not checked"; \
	fi

fmt: ## format the code
	cargo fmt --all

servers:
	@$(PYTHON) ops/scripts/obtain

build:
	@echo "building (release; some minutes the first time)"
	@cargo build --release --workspace --bins
