# `make` lists the tasks. They need python3 (3.11 or newer), pip and make, and keep what they fetch in this folder.

PYTHON ?= python3
UV := $(or $(shell command -v uv),.tools/bin/uv)
export UV_PYTHON_DOWNLOADS ?= never

# --frozen: exactly what the lock file says. --locked: the same, and an error when pyproject.toml has moved on.
DEV := $(UV) run --python $(PYTHON) --all-extras

.PHONY: help run test test-upstream check fix pages client simulate planted race kill holders soak bench mutants lock fresh

help: ## list the tasks
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 20

run: PORT = 8000
run: | $(UV) ## serve the example, a small shop, on PORT=8000
	@$(UV) run --python $(PYTHON) --frozen --no-dev --extra server python -m examples.shop --port $(PORT)

# Hundreds of tests start a Python of their own: each would compile what it imports if nothing compiled were kept.
test: export PYTHONDONTWRITEBYTECODE :=
test: | $(UV) ## run every test
	@# Fetched before, not inside a test: a slow network is no hanging test.
	@$(DEV) --frozen --no-dev --group test python -m web.build install
	@$(DEV) --frozen --no-dev --group test python -m tests.browser.chromium
	@$(DEV) --frozen --no-dev --group test python -m tests.servers
	@$(DEV) --frozen --no-dev --group test pytest -q -n auto --dist worksteal

# In an environment of its own, because the suites bring plugins of pytest that are none of our business.
test-upstream: | $(UV) ## fetch the suites that others publish for their stores, and run them on our adapters
	@$(DEV) --frozen --isolated --group upstream python -m tools.upstream $(NAMES)

check: | $(UV) ## format, lint, types, import contracts, generated pages, browser client
	@$(DEV) --locked ruff format --check --quiet
	@$(DEV) --locked ruff check --quiet
	@$(DEV) --locked mypy
	@$(DEV) --locked pyright
	@$(DEV) --locked lint-imports --no-logo --no-cache # its cache does not notice new modules
	@$(DEV) --locked python -m tools.pages --check
	@$(DEV) --locked python -m web.build check

fix: | $(UV) ## format, repair what the linter can repair, write the generated pages
	@$(DEV) --frozen ruff format
	@$(DEV) --frozen ruff check --fix
	@$(DEV) --frozen python -m tools.pages

pages: | $(UV) ## write the generated pages of docs/reference
	@$(DEV) --frozen python -m tools.pages

client: | $(UV) ## build the browser client that the server hands out
	@$(DEV) --frozen python -m web.build

simulate: SEEDS = 200
simulate: FROM = 0
simulate: | $(UV) ## live through worlds of several servers: SEED=7 shows one, SEEDS=5000 FROM=0 runs many
	@$(DEV) --frozen python -m tools.simulate $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --from $(FROM))

planted: | $(UV) ## plant bugs in the documents, and see the simulation turn red
	@$(DEV) --frozen python -m tools.planted

race: | $(UV) ## two processes count up one session, on each database: nothing lost, nobody refused
	@$(DEV) --frozen python -m tools.race

kill: N = 50
kill: | $(UV) ## kill -9 the server under load, N=50 times: what it acknowledged is there
	@$(DEV) --frozen python -m tools.kill --times $(N)

holders: N = 100
holders: | $(UV) ## kill -9 whoever holds a document, N=100 times: the next one has it in time, with all that was saved
	@$(DEV) --frozen python -m tools.holders --times $(N)

soak: N = 10
soak: | $(UV) ## kill, freeze and cut off real databases under load, N=10 times, with new seeds
	@$(DEV) --frozen python -m tools.soak --times $(N)

bench: | $(UV) ## measure what docs/reference/performance.md promises, in about twenty minutes, and write it
	@$(DEV) --frozen python -m benchmarks

mutants: | $(UV) ## plant a bug for each promise of the engine port, and see the suite turn red
	@$(DEV) --frozen python -m tools.mutants

lock: | $(UV) ## bring uv.lock up to date with pyproject.toml
	@$(UV) lock --python $(PYTHON)

fresh: ## do what a newcomer does: clone, empty home, every task of the README
	@tools/fresh.sh run test

# Into a folder of our own, because Debian refuses a plain `pip install` and may lack the package behind `python3 -m venv`.
.tools/bin/uv:
	@$(PYTHON) -m pip install -qq --disable-pip-version-check --root-user-action=ignore --target .tools uv==0.13.8
