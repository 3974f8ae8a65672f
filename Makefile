# Two commands do everything on a fresh machine with Python 3.11 or newer:
#   make demo    the host with the bots of bots.ini, one signed delivery to each, the replies as a table
#   make test    the tests, in about five minutes; make test-full adds what needs PostgreSQL, Chromium or time
PY ?= python3
JOBS ?= 2
PLUGINS := $(wildcard plugins/*/pyproject.toml)
EXAMPLES := $(wildcard examples/*/pyproject.toml)

# every version is pinned in constraints.txt, so that no release of somebody else's changes what main does
PIP := PYTHONWARNINGS=ignore .venv/bin/pip install -q --disable-pip-version-check -c constraints.txt

# a file of another's service against that service's schema
SCHEMA := .venv/bin/check-jsonschema -q --builtin-schema vendor

# `dist` and `docs` are folders too
.PHONY: dist demo test test-full test-pythons lint lock docs bench wheels sbom audit coverage soak image clean

demo: .venv/.host
	@.venv/bin/bothost demo $(ARGS)

# two processes, a file's tests in one of them: most of the time is spent waiting for processes and disks
test: .venv/.dev
	.venv/bin/python -m pytest -q -m "not full" -n $(JOBS) --dist loadfile $(ARGS)

# nothing is skipped: what is missing (PostgreSQL, Chromium) fails. -bb: bytes are never taken for text.
# What is marked `full` mostly waits: four processes, who has nothing left takes from the others. What is marked `alone`
# as well measures times, so it has the machine to itself
test-full: .venv/.dev
	NO_SKIPS=1 .venv/bin/python -bb -m pytest -q -m "not full" --tx '3*popen//python=.venv/bin/python -bb' --dist loadfile $(ARGS)
	NO_SKIPS=1 .venv/bin/python -bb -m pytest -q -m "full and not alone" --tx '4*popen//python=.venv/bin/python -bb' --dist worksteal $(ARGS)
	NO_SKIPS=1 .venv/bin/python -bb -m pytest -q -m "full and alone" $(ARGS)
	.ci/wheels

# the quick tests on every Python from 3.11 on that is found; ARGS='--root FOLDER' adds the one in a Debian root
test-pythons:
	.ci/pythons $(ARGS)

lint: .venv/.dev
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/zizmor --offline -q .github
	$(SCHEMA).github-workflows .github/workflows/*.yml
	$(SCHEMA).github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/idea.yml
	$(SCHEMA).dependabot .github/dependabot.yml
	$(SCHEMA).readthedocs .readthedocs.yaml

# pins the newest versions that setup.py allows, for all Pythons at once; commit what it writes
lock: .venv/.dev
	.venv/bin/uv pip compile -q setup.py --all-extras --universal --python-version 3.11 --upgrade --no-header --no-annotate -o constraints.txt

# the documentation site: build/docs. A warning, a link that leads nowhere or an unknown word fails
docs: .venv/.dev
	.venv/bin/python docs/site/build.py $(ARGS)
	.venv/bin/python docs/site/spelling.py

bench: .venv/.dev
	.venv/bin/python -m bench $(ARGS)

# wheels of the host and its plugins in dist/, for `pip install --find-links dist bothost`
dist: .venv/.host
	@rm -rf build plugins/*/build
	.venv/bin/pip wheel -q --disable-pip-version-check --no-deps -w dist . $(patsubst %/,./%,$(dir $(PLUGINS)))
	@rm -rf build plugins/*/build
	@ls dist/*.whl

wheels: .venv/.dev
	.ci/wheels

# what an installation holds, with versions and licences, as CycloneDX: dist/bothost.cdx.json
sbom: .venv/.dev
	.ci/sbom

# known vulnerabilities of what an installation holds; asks the package index and its advisories
audit: .venv/.dev
	.ci/sbom --audit

# branches of the parts that must have none untested
coverage: .venv/.dev
	.ci/coverage $(ARGS)

# an hour of steady load, and what the host grows by; ARGS='--minutes 60 --page' writes it into docs/testing.md
soak: .venv/.dev
	.venv/bin/python -m tests.load.soak $(ARGS)

# small changes to the code that decides, each of which some test must notice; takes half an hour
mutants: .venv/.dev
	.ci/mutants $(ARGS)

# the container image, built with buildah and run, as root; ARGS=--stand-in where no registry can be reached
image:
	.ci/image $(ARGS)

# ten minutes of each fuzzer
fuzz: .venv/.dev
	BOTHOST_FUZZ_SECONDS=600 .venv/bin/python -m pytest -q tests/fuzz -m full $(ARGS)

clean:
	rm -rf .venv .pythons .mutants .image build dist core/*.egg-info
	rm -rf $(foreach folder,plugins examples,$(folder)/*/*.egg-info $(folder)/*/build)

# the host goes first: the plugins depend on it
.venv/.host: setup.py pyproject.toml $(PLUGINS)
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "bothost needs Python 3.11 or newer ($(PY) is older); make PY=python3.12 demo"; exit 1; }
	@$(PY) -m venv .venv || { rm -rf .venv; echo "no venv: apt install python3-venv"; exit 1; }
	@rm -rf build plugins/*/build
	$(PIP) -e . $(patsubst %/,-e ./%,$(dir $(PLUGINS)))
	@touch $@

# the examples are built by the setuptools of this environment, which takes a second each and not five
.venv/.dev: .venv/.host constraints.txt $(EXAMPLES)
	$(PIP) -e '.[dev,docs]'
	$(PIP) --no-build-isolation $(patsubst %/,-e ./%,$(dir $(EXAMPLES)))
	@touch $@
