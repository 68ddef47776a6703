# nginy: every command a user needs. `make help` explains them.
SHELL := /bin/bash
PY := .venv/bin/python
export PATH := $(PATH):/usr/sbin:/sbin
# Virtual networks need root; results are handed back to the user who called, and root leaves no
# caches in a user's checkout: the user could neither renew nor remove them.
ROOT := $(shell [ $$(id -u) -eq 0 ] || ! command -v sudo >/dev/null || \
	echo sudo env PYTHONDONTWRITEBYTECODE=1 GIT_OPTIONAL_LOCKS=0)
ifneq ($(shell id -u),$(shell stat -c %u .))
export PYTHONDONTWRITEBYTECODE := 1
export GIT_OPTIONAL_LOCKS := 0
export RUFF_NO_CACHE := true
export MYPY_CACHE_DIR := /dev/null
export PYTEST_ADDOPTS := -p no:cacheprovider
export HYPOTHESIS_STORAGE_DIRECTORY := $(HOME)/.cache/nginy/hypothesis
endif

.DEFAULT_GOAL := help
.PHONY: help setup experiment simulate arms sweep study studies compare figures scheduler worker demo watch doctor check test test-netem bench bench-simulation stress quality notebook notebook-html report docs-images clean

# CC is make's own name of the C compiler, too, and many environments set it; WSL sets NAME.
$(foreach each,CC NAME,$(if $(filter command,$(firstword $(origin $(each)))),,$(eval $(each) :=)))

# name:option pairs of `make experiment`; one that is not given keeps the scenario's own value
override = $(if $($(1)),--$(2) '$($(1))')
OVERRIDES = $(call override,PROTO,proto) \
	$(call override,SYSTEM,system) $(call override,ALG,alg) $(call override,LOSS,loss) $(call override,DELAY,delay) \
	$(call override,RATE,rate) $(call override,BACKENDS,backends) $(call override,CLIENTS,clients) \
	$(call override,LOAD,load) $(call override,DURATION,duration) $(call override,SEED,seed) \
	$(call override,WARMUP,warmup) $(call override,PRECISION,precision) $(call override,SHAPE,shape) $(call override,CC,cc)

# A misspelt variable (LOS=1) would otherwise be ignored, and the run be another than was asked.
VARIABLES := ALG SYSTEM PROTO SCENARIO SHAPE CC LOSS DELAY RATE BACKENDS CLIENTS LOAD DURATION WARMUP SEED PRECISION FIGURES SWEEP RUNS ONLY PYTHON REQUESTS BALANCERS NAME QUICK ARM STORE SPEED LIVE LISTEN PORT PRECISION_PCT OF CLUSTER SCHEDULER
STUDIES = $(basename $(notdir $(sort $(wildcard experiments/studies/*.yaml))))
SCENARIOS = $(basename $(notdir $(sort $(wildcard experiments/scenarios/*.yaml))))
# A value with a blank (RUNS) is several words here, of which only the first has a name.
GIVEN := $(foreach given,$(MAKEOVERRIDES),$(if $(findstring =,$(given)),$(firstword $(subst =, ,$(given)))))
ifneq ($(filter-out $(VARIABLES),$(GIVEN)),)
$(error unknown variable $(filter-out $(VARIABLES),$(GIVEN)); there are: $(VARIABLES))
endif

help: ## this text
	@echo "nginy: a layer-4 load balancer, and the testbed that proves it"
	@echo
	@grep -E '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'
	@echo
	@echo "make experiment takes (defaults in experiments/scenarios/default.yaml, of UDP in udp.yaml):"
	@echo "  ALG       round_robin | least_conn | random_two | ketama | least_time | peak_ewma | prequal"
	@echo "            | adaptive | ...: .venv/bin/nginy algorithms lists all              ALG=least_conn"
	@echo "  SYSTEM    nginy | nginx | haproxy | direct (no balancer, clients choose: ALG=random)  SYSTEM=nginx"
	@echo "  PROTO     tcp | udp                                                           PROTO=udp"
	@echo "  SCENARIO  a file with more (faults, options of the algorithm, health checks,"
	@echo "            weights), or the name of one: $(SCENARIOS)   SCENARIO=failover"
	@echo "  LOSS      packet loss in percent, each direction, on every client link        LOSS=1"
	@echo "  DELAY     one-way delay in ms, each direction, on every client link           DELAY=20"
	@echo "  RATE      rate in Mbit/s, each direction, of every client link                RATE=100"
	@echo "  SHAPE     star | dumbbell (a shared bottleneck) | two_sites (near and far backends)"
	@echo "            | leaf_spine (racks) | chain (several balancers)                    SHAPE=dumbbell"
	@echo "  CC        TCP's congestion control in every host: cubic | reno | bbr          CC=bbr"
	@echo "  BACKENDS  number of backends                                                  BACKENDS=4"
	@echo "  CLIENTS   number of client hosts                                              CLIENTS=3"
	@echo "  LOAD      offered load as a fraction of the backends' capacity                LOAD=0.7"
	@echo "  DURATION  seconds during which requests are sent                              DURATION=30"
	@echo "  WARMUP    seconds of them at the start that do not count                      WARMUP=3"
	@echo "  SEED      of arrivals, service demands, drops; same seed, same workload       SEED=1"
	@echo "  PRECISION normal | strict: normal states by how much latencies may be too high because this"
	@echo "            machine was late, and refuses a run only where that could change the result;"
	@echo "            strict has narrow bounds whatever was asked, for precision work   PRECISION=strict"
	@echo "  FIGURES   anyway: draw the figures of an invalid run, too, with NOT VALID across them"
	@echo "            (also: make figures FIGURES=anyway)                               FIGURES=anyway"
	@echo "make simulate takes these (but SYSTEM, CC, FIGURES), and"
	@echo "  REQUESTS  so many in all, in the place of DURATION                            REQUESTS=1e5"
	@echo "  BALANCERS that know nothing of each other                                     BALANCERS=3"
	@echo "make demo and watch take RUNS: folders, names of runs below results/, or runs that are shipped (least_conn,"
	@echo "round_robin); demo plays two beside each other. They and nothing else take"
	@echo "  SPEED     1 | 2 | 5 | 10 | 20 seconds of the run in one second                SPEED=5"
	@echo "  LIVE      demo: make a run, as root, that the page follows and does things to; it is no"
	@echo "            evidence, its clicked.yaml repeats it. Takes what make experiment takes     LIVE=1"
	@echo "  LISTEN    demo: an address that others reach; the printed URL has a token     LISTEN=0.0.0.0"
	@echo "  PORT      demo: or the next free one                                          PORT=8080"
	@echo "  PRECISION_PCT  more and more seeds, on all processors, until the mean is known so well  PRECISION_PCT=1"
	@echo "make study takes NAME ($(STUDIES)) and QUICK=1; it, studies and sweep take"
	@echo "  ARM       emulate | simulate: in virtual time, minutes instead of hours       ARM=simulate"
	@echo "  CLUSTER   runs by the workers of a Dask scheduler, also of make simulate PRECISION_PCT=;"
	@echo "            local: on all processors of this machine                    CLUSTER=tcp://192.0.2.7:8786"
	@echo "make sweep takes SWEEP=FILE or a name in experiments/sweeps (default), and the variables above (but SCENARIO,"
	@echo "FIGURES) for all of its runs: of what it varies itself, one level is left. make test needs root for its network tests"

setup: ## install what is missing (Debian packages, .venv); the other targets do it themselves
	@experiments/setup.sh

experiment: setup ## one run in a virtual network: make experiment ALG=least_conn LOSS=1 DELAY=20
	@$(if $(filter nginx haproxy,$(SYSTEM))$(filter web wrk,$(SCENARIO)),experiments/setup.sh --bench)
	@$(ROOT) $(PY) -m experiments run $(call override,SCENARIO,scenario) $(OVERRIDES) $(call override,FIGURES,figures)

simulate: setup ## the same in virtual time, no root: make simulate ALG=prequal BACKENDS=1000 REQUESTS=1e5 BALANCERS=3
	@$(if $(CLUSTER),experiments/setup.sh --cluster)
	@$(PY) -m experiments simulate $(call override,SCENARIO,scenario) $(call override,REQUESTS,requests) $(call override,BALANCERS,balancers) $(call override,PRECISION_PCT,precision-pct) $(call override,CLUSTER,cluster) $(OVERRIDES)

arms: setup ## emulation, simulation and theory of one scenario: make arms ALG=least_conn DELAY=20
	@$(ROOT) $(PY) -m experiments arms $(call override,SCENARIO,scenario) $(OVERRIDES)

study: setup ## a question with an expected answer, judged: make study NAME=distance [QUICK=1]
	@$(if $(CLUSTER),experiments/setup.sh --cluster)
	@$(ROOT) $(PY) -m experiments study '$(NAME)' $(if $(QUICK),--quick) $(call override,ARM,arm) $(call override,CLUSTER,cluster)

studies: setup ## all of them, one after another, resumable; QUICK=1: in about an hour
	@$(if $(CLUSTER),experiments/setup.sh --cluster)
	@$(ROOT) $(PY) -m experiments studies $(if $(QUICK),--quick) $(call override,ARM,arm) $(call override,CLUSTER,cluster)

SWEEP ?= default
sweep: setup ## a matrix of runs (algorithms x loss x delay, replicates); resumes where it stopped
	@$(if $(filter systems,$(SWEEP)),experiments/setup.sh --bench)
	@$(if $(CLUSTER),experiments/setup.sh --cluster)
	@$(ROOT) $(PY) -m experiments sweep $(SWEEP) $(OVERRIDES) $(call override,ARM,arm) $(call override,CLUSTER,cluster)

compare: setup ## runs against each other: make compare RUNS="least_conn round_robin" (or folders); no root
	@$(PY) -m experiments compare $(RUNS)

figures: setup ## draw all figures of all results again, write all pages (no root, no network)
	@$(PY) -m experiments figures $(call override,FIGURES,figures)

demo: ## replay a stored run on a page, no root: make demo [RUNS="least_conn round_robin"] [SPEED=5]; LIVE=1: a real one
	@experiments/setup.sh --live
	@$(if $(LIVE),$(ROOT) $(PY) -m experiments live $(call override,SCENARIO,scenario) $(OVERRIDES),$(PY) -m experiments demo $(RUNS) $(call override,SPEED,speed)) $(call override,LISTEN,listen) $(call override,PORT,port)

watch: setup ## the same in the terminal: make watch [RUNS=round_robin] [SPEED=5]
	@$(PY) -m experiments watch $(RUNS) $(call override,SPEED,speed)

scheduler: ## gives simulated sweeps to the workers that join: make scheduler [LISTEN=192.0.2.7]
	@experiments/setup.sh --cluster
	@$(PY) -m experiments scheduler $(call override,LISTEN,listen) $(call override,PORT,port)

worker: ## this machine joins one: make worker SCHEDULER=tcp://192.0.2.7:8786
	@experiments/setup.sh --cluster
	@$(PY) -m experiments worker '$(SCHEDULER)'

doctor: setup ## what this machine has and lacks, and what will be used instead
	@$(ROOT) $(PY) -m experiments doctor

check: ## format, lint, types, import rule, fast tests; no root needed
	@experiments/setup.sh --live --report --cluster
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@$(PY) -m pytest -q -m "not root and not slow"

test: check ## everything; the tests of virtual networks run only as root (sudo make test)
	@experiments/setup.sh --bench --live --browser
	@$(PY) -m pytest -q -m "root or slow"

test-netem: ## tests of links by the kernel's netem, in User-Mode Linux where this kernel has none (1 minute)
	@experiments/setup.sh --netem
	@tests/netem/boot.sh

bench: ## nginy beside nginx and HAProxy, TCP and UDP: rates, memory, ratios; and what a pick costs
	@experiments/setup.sh --bench
	@$(ROOT) $(PY) -m experiments.bench

bench-simulation: setup ## the simulation's speed beside the same model in SimPy (5 minutes)
	@$(PY) -m experiments.bench.simulation

stress: ## nginy beside nginx and HAProxy under stress: who holds up, starves or drops whom; ONLY=weight for one
	@experiments/setup.sh --bench
	@$(ROOT) $(PY) -m experiments.stress $(if $(ONLY),--only '$(ONLY)')

quality: setup ## how exact the link emulator is on this machine (delay, throughput, loss)
	@$(ROOT) $(PY) -m topologies.verify.quality

report: ## a course report (PDF, HTML) of runs, your own text: make report [OF=results/load]
	@experiments/setup.sh --report
	@$(PY) -m experiments report $(OF)

docs-images: ## the pictures of README and docs again, of new runs; ONLY=demo: one step of docs/images/images.yaml
	@experiments/setup.sh --live --browser
	@$(ROOT) $(PY) -m experiments docs-images $(if $(ONLY),--only '$(ONLY)')

notebook-html: ## the notebook, executed on results/ (or the shipped runs), as results/analysis.html; STORE=1: outputs into it
	@experiments/setup.sh --notebook
	@$(PY) -m experiments notebook-html $(if $(STORE),--store)

notebook: ## open the analysis notebook in JupyterLab
	@experiments/setup.sh --notebook
	@.venv/bin/jupyter lab notebooks/analysis.ipynb

clean: ## remove what was built (.venv, caches); results stay
	@rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find nginy topologies experiments tests -name __pycache__ -type d -prune -exec rm -rf {} +
