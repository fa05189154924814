# Two commands are enough: `make run` and `make test`. `make help` lists the rest.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: bench help run demo example why stack clean limits test faults pictures check schemas lock

DATA ?= .local
PORTS ?= 8080
TLS ?=
ONLY ?= tests
export DATA PORTS TLS

BOOTSTRAP := exec sh deploy/local/bootstrap.sh

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  DATA=folder (default .local) and PORTS=first of 40 ports (default 8080) let two stacks run side by side."
	@echo "  TLS=1: Kafka over TLS, with an authority made at the first start."

run: ## start everything, show a login and an export with a code, and stay up
	@$(BOOTSTRAP) local -m deploy.local run

demo: ## show the login and the export again, on the stack that runs
	@$(BOOTSTRAP) local -m deploy.local demo

stack: ## start only the servers (Kafka, PostgreSQL, SNS) and keep them up for `make test ONLY=path`
	@$(BOOTSTRAP) local -m deploy.local stack

example: ## publish an example request on the stack that runs, and tell what became of it
	@$(BOOTSTRAP) local -m countersign.cli publish-example access.requested --wait 5

why: ## show which messages were refused last, and why
	@$(BOOTSTRAP) local -m countersign.cli why

clean: ## forget the data of the stack
	@$(BOOTSTRAP) local -m deploy.local clean

limits: ## print every limit of the running configuration with its source
	@$(BOOTSTRAP) local -m deploy.local limits

test: ## run all tests on real servers, or those of ONLY=path
	@$(BOOTSTRAP) dev -m deploy.local.tests $(ONLY)

faults: ## run all faults, histories and simulated schedules, also those that `make test` leaves out (about 100 minutes)
	@$(BOOTSTRAP) dev -m deploy.local.tests faults

bench: ## measure every figure beside a bare loop in the same run (a table, and .local/bench.json)
	@$(BOOTSTRAP) dev -m tests.bench

pictures: ## take a picture of every page and state into docs/pictures
	@$(BOOTSTRAP) dev -m tests.pictures

check: ## format, lint, types and architecture
	@$(BOOTSTRAP) dev -m deploy.local.checks

schemas: ## generate schemas/json, schemas/examples and schemas/asyncapi.yaml from the models
	@$(BOOTSTRAP) dev -m countersign.contract.schemas

lock: ## make the hashed lock files anew from pyproject.toml
	@$(BOOTSTRAP) dev -m deploy.local.lock
