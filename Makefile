# Train networks on CIFAR-10 and show why batch normalisation helps. `make` lists the verbs.
# ARGS="…" passes flags on:  make train ARGS="--preset strong --seed 1"

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
DATA   := data/cifar10.bin
ARGS   ?=
SHIPPED := reports/models/cifarnet.pt
INSTALL := -m pip install --quiet --disable-pip-version-check
# whatever a user's own settings of pip are, packages go into the environment
export PIP_USER := 0
export PIP_TARGET :=
export PIP_PREFIX :=

.DEFAULT_GOAL := help
.PHONY: help venv download train evaluate filters landscape insights gallery compare from-scratch bn-landscape bn-compare figures report notebook mindspore readme test bench lint clean

help: ## this list
	@echo "make VERB [ARGS=\"flags for the script\"]     minutes on two CPU cores"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(VENV)/.installed ## 3     a Python environment in .venv with all packages
$(VENV)/.installed: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
	  { echo "make: needs Python 3.10 or newer as $(PYTHON); try  make PYTHON=python3.12 …" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "make: $(PYTHON) has no venv; install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@$(PY) $(INSTALL) -r requirements.txt -r requirements-dev.txt || \
	  { echo "make: pip could not install the packages, for the reason above (it needs network and 10 GB)" >&2; exit 2; }
	@touch $@

download: $(DATA) ## 1     CIFAR-10 into data/, verified
$(DATA): | $(VENV)/.installed
	$(PY) VGG_BatchNorm/loaders.py

train: $(DATA) ## 10    train, then print the test error; picks up where it was stopped
	$(PY) codes/train.py --resume $(ARGS)

evaluate: $(DATA) ## 2     test error of the newest run (ARGS="--ckpt PATH": of another)
	$(PY) codes/evaluate.py $(ARGS)

filters: $(DATA) ## 3     filters, also before and after training, feature maps, and what excites deeper layers
	$(PY) codes/visualize_filters.py --ckpt $(SHIPPED) $(ARGS)
	$(PY) codes/visualize_filters.py --learned
	$(PY) codes/visualize_patches.py --ckpt $(SHIPPED) $(ARGS)

landscape: $(DATA) ## 10    the loss around the shipped weights, around four small nets, and along a path of training
	$(PY) codes/visualize_landscape.py --ckpt $(SHIPPED) $(ARGS)
	$(PY) codes/visualize_landscape.py --compare
	$(PY) codes/visualize_landscape.py --path

INSIGHTS := attribution mistakes features robustness
insights: $(DATA) ## 8     attribution, mistakes, features, robustness, and a net while it learns
	for what in $(INSIGHTS); do $(PY) codes/visualize_$$what.py --ckpt $(SHIPPED) $(ARGS) || exit; done
	$(PY) codes/visualize_learning.py

gallery: reports/figures/samples.png ## 2     all pictures on one page, with images to choose and a surface to turn: reports/index.html
	$(PY) codes/draw_figures.py
	$(PY) codes/gallery.py --ckpt $(SHIPPED) $(ARGS)

# of verbs whose second script draws what the first measured: it would not know of another folder
no-out = $(if $(findstring --out,$(ARGS)),$(error with --out call the scripts themselves, as README says under "Commands"))
compare: $(DATA) ## 240   one factor at a time: optimizers, activations, losses, … (what is there is not run again)
	$(no-out)$(PY) codes/compare.py $(ARGS)
	$(PY) codes/plot_compare.py
	@$(PY) codes/summarise.py

from-scratch: $(DATA) ## 2     a convolutional network without autograd: every gradient by hand
	$(PY) codes/from_scratch.py $(ARGS)

bn-landscape: $(DATA) ## 8     why batch norm helps: VGG-A with and without it, probed; pictures with captions
	$(no-out)$(PY) VGG_BatchNorm/VGG_Loss_Landscape.py $(ARGS)
	$(PY) VGG_BatchNorm/plot_study.py

bn-compare: override ARGS := --groups pair rates $(ARGS)
bn-compare: bn-landscape ## 4     its effect on training: the two nets over learning rates, and a table

figures: reports/figures/samples.png ## 1     the pictures in reports/figures/ that are missing or older than their numbers
	$(PY) codes/draw_figures.py $(ARGS)
reports/figures/samples.png: | $(VENV)/.installed
	$(PY) VGG_BatchNorm/loaders.py

report: $(VENV)/.installed ## 0     all of it explained, from the results and pictures that are there: reports/report.pdf
	$(PY) codes/report.py $(ARGS)

notebook: $(DATA) ## 1     run notebook.ipynb on few images
	rm -rf runs/notebook
	QUICK=1 PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) -c 'from nbclient.cli import main; main()' notebook.ipynb

mindspore: $(DATA) $(VENV)-mindspore/.installed ## 12    the same small net by MindSpore and by torch (ARGS="--n-items 5000": 3)
	$(PY) codes/mindspore_quickstart.py torch $(ARGS)
	$(VENV)-mindspore/bin/python codes/mindspore_quickstart.py mindspore $(ARGS)
$(VENV)-mindspore/.installed: requirements-mindspore.txt
	$(PYTHON) -m venv $(VENV)-mindspore
	@$(VENV)-mindspore/bin/python $(INSTALL) -r requirements-mindspore.txt || \
	  { echo "make: pip could not install MindSpore, for the reason above; if it has none for this Python: make mindspore PYTHON=python3.11" >&2; exit 2; }
	@touch $@

readme: $(VENV)/.installed ## 0     renew the tables of the README files and MODEL_CARD.md from the results
	$(PY) codes/summarise.py $(ARGS)

test: $(VENV)/.installed ## 2     the test suite; needs neither CIFAR-10 nor network
	$(PY) -m pytest -q -n 2 $(ARGS)

bench: $(VENV)/.installed ## 2     GEMM rate, training step, loader, memory; leave the machine alone meanwhile
	$(PY) codes/bench.py $(ARGS)

lint: $(VENV)/.installed ## 0     ruff
	$(PY) -m ruff check .

clean: ## 0     remove the environment and caches; runs/ and data/ stay
	rm -rf $(VENV) $(VENV)-mindspore .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -exec rm -rf {} +
