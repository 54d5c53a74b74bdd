# `make` lists the tasks. They need python3 (3.11 or newer), pip and make, and keep what they fetch in this folder.

PYTHON ?= python3
UV := $(or $(shell command -v uv),.tools/bin/uv)
export UV_PYTHON_DOWNLOADS ?= never

# --frozen: exactly what the lock file says. --locked: the same, and an error when pyproject.toml has moved on.
DEV := $(UV) run --python $(PYTHON) --all-extras

.PHONY: help test check fix pages race kill mutants lock fresh

help: ## list the tasks
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 14

test: | $(UV) ## run every test
	@$(DEV) --frozen --no-dev --group test pytest -q -n auto --dist worksteal

check: | $(UV) ## format, lint, types, import contracts, generated pages
	@$(DEV) --locked ruff format --check --quiet
	@$(DEV) --locked ruff check --quiet
	@$(DEV) --locked mypy
	@$(DEV) --locked pyright
	@$(DEV) --locked lint-imports --no-logo --no-cache # its cache does not notice new modules
	@$(DEV) --locked python -m tools.pages --check

fix: | $(UV) ## format, repair what the linter can repair, write the generated pages
	@$(DEV) --frozen ruff format
	@$(DEV) --frozen ruff check --fix
	@$(DEV) --frozen python -m tools.pages

pages: | $(UV) ## write the generated pages of docs/reference
	@$(DEV) --frozen python -m tools.pages

race: | $(UV) ## two processes and many tasks count up one session: nothing lost, nobody refused
	@$(DEV) --frozen python -m tools.race

kill: N = 50
kill: | $(UV) ## kill -9 the server under load, N=50 times: what it acknowledged is there
	@$(DEV) --frozen python -m tools.kill --times $(N)

mutants: | $(UV) ## plant a bug for each promise of the engine port, and see the suite turn red
	@$(DEV) --frozen python -m tools.mutants

lock: | $(UV) ## bring uv.lock up to date with pyproject.toml
	@$(UV) lock --python $(PYTHON)

fresh: ## do what a newcomer does: clone, empty home, every task of the README
	@tools/fresh.sh test

# Into a folder of our own, because Debian refuses a plain `pip install` and may lack the package behind `python3 -m venv`.
.tools/bin/uv:
	@$(PYTHON) -m pip install -qq --disable-pip-version-check --root-user-action=ignore --target .tools uv==0.13.8
