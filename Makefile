# The six steps as a dependency graph: `make` after an edit runs just what is stale.
#
#   make demo     a rendered sample set through all six steps, in demo/; downloads the packages first
#   make          the six steps on the photographs in SOURCE (default: this folder)
#   make third    a third stage after that: 14 more refiners, and all scores again
#   make test     the tests
#   make bench    measures each step's speed and memory, BENCH="--seconds 20"; a quarter of an hour
#   make torture  kills each step at random moments, KILLS=10 times; an hour or less
#   make fuzz     reads 20,000 mutated files
#   make results  runs, records and tabulates the rows of the README's table of results; with a GPU, some hours
#   make clean    frees what the steps, the demo and the virtual environment take
#
# Settings: WORKDIR=. (arrays and models), SOURCE=. (photographs), RESUME=1 (go on with unfinished
# training), and STEP_1= STEP_2= STEP_5= for further flags of a step, as in   make STEP_2="--epochs 20"
# RESULTS="--size cpu --part FILE" sets flags of make results, see python -m results --help.
# PYTHON=python3 uses an interpreter that has the packages and installs nothing.

WORKDIR ?= .
SOURCE ?= .
W := $(or $(strip $(WORKDIR)),.)
ifeq ($(origin PYTHON),command line)
  RUN := $(PYTHON)
else
  RUN := .venv/bin/python
  PACKAGES := .venv/packages
  TEST_PACKAGES := .venv/test-packages
endif

JOINTS := right_ankle right_knee right_hip left_hip left_knee left_ankle \
          right_wrist right_elbow right_shoulder left_shoulder left_elbow left_wrist neck head
CASCADE := $(JOINTS:%=$(W)/model_%.pt)
DELTAS := $(firstword $(wildcard $(W)/deltas.npy) deltas.npy)

# What the scripts import, and so what they are made anew for
FILES_PY := deeppose/arrays.py deeppose/files.py deeppose/locks.py deeppose/shell.py deeppose/skeleton.py \
            deeppose/geometry.py
TORCH_PY := $(FILES_PY) deeppose/runtime.py deeppose/crops.py deeppose/loader.py deeppose/checkpoint.py
STAGE_1_PY := $(TORCH_PY) Resnet_stage_1.py
TRAINING_PY := deeppose/augment.py deeppose/losses.py deeppose/recipes.py
CASCADE_PY := $(TORCH_PY) deeppose/lrn.py deeppose/predictions.py Cascade_1_net.py
SCORES_PY := deeppose/metrics.py deeppose/scoring.py deeppose/tables.py deeppose/published.py \
             deeppose/plots.py deeppose/drawing.py
REPORT := deeppose/report.py deeppose/report_page.html

.DELETE_ON_ERROR:
.NOTPARALLEL:  # every step uses all cores by itself
.PHONY: all third demo test bench torture fuzz results clean

all: $(W)/metrics_stage_1.json $(W)/metrics_stage_2.json

# Step 1. dataset.json is written last, so it stands for all of the step's arrays.
$(W)/dataset.json: LSP_data.py deeppose/downloads.py deeppose/matlab.py deeppose/photo_sets.py \
                deeppose/framing.py $(FILES_PY) | $(PACKAGES)
	$(RUN) LSP_data.py --workdir $(W) --source $(SOURCE) $(STEP_1)

$(W)/model_1.pt: $(W)/dataset.json Train_stage_1.py deeppose/metrics.py $(TRAINING_PY) \
                $(STAGE_1_PY) | $(PACKAGES)
	$(RUN) Train_stage_1.py --workdir $(W) $(if $(RESUME),--resume) $(STEP_2)

$(W)/metrics_stage_1.json: $(W)/model_1.pt test_stage_1.py $(STAGE_1_PY) $(SCORES_PY) | $(PACKAGES)
	$(RUN) test_stage_1.py --workdir $(W)

$(W)/train_output.npy: $(W)/model_1.pt Generate_train_output.py deeppose/predictions.py $(STAGE_1_PY) | $(PACKAGES)
	$(RUN) Generate_train_output.py --workdir $(W)

$(CASCADE): $(W)/model_%.pt: $(W)/train_output.npy $(DELTAS) Train_stage_2.py deeppose/deltas.py deeppose/gains.py \
                deeppose/estimates.py $(TRAINING_PY) $(CASCADE_PY) | $(PACKAGES)
	$(RUN) Train_stage_2.py --workdir $(W) --joints $* $(if $(RESUME),--resume) $(STEP_5)

$(W)/metrics_stage_2.json: $(CASCADE) $(W)/model_1.pt test_stage_2.py $(STAGE_1_PY) $(CASCADE_PY) deeppose/deltas.py \
                $(SCORES_PY) $(REPORT) | $(PACKAGES)
	$(RUN) test_stage_2.py --workdir $(W)

third: $(CASCADE)
	$(RUN) Train_stage_2.py --workdir $(W) --stage 3 $(if $(RESUME),--resume) $(STEP_5)
	$(RUN) test_stage_2.py --workdir $(W)

# The demo: the same steps, at full network size, with counts that suit 2 cores without a GPU.
demo: | $(PACKAGES)
	@echo "The demo takes half a GB of disk in demo/, beside the packages; 'make clean' frees them."
	@test -f demo/photos/sample.json || $(RUN) -m deeppose.sample demo/photos --lsp 300 --lspet 300
	@$(MAKE) all WORKDIR=demo SOURCE=demo/photos PYTHON="$(RUN)" \
	    STEP_2="--weights none --epochs 8 --rows 600 --batch-size 16 --input-px 129" \
	    STEP_5="--rows 200 --simulated 4 --epochs 2 --batch-size 5 --crop-px 129"
	@echo "Scores: demo/metrics_stage_1.json demo/metrics_stage_2.json"
	@echo "Pictures: demo/pdj_stage_1.png demo/poses_stage_1.png demo/pdj_stage_2.png demo/poses_stage_2.png"
	@echo "All of it, to look through in a browser: demo/report.html"

test: | $(PACKAGES) $(TEST_PACKAGES)
	$(RUN) -m pytest

bench: | $(PACKAGES)
	$(RUN) -m benchmarks --torchrun $(BENCH)

torture: | $(PACKAGES) $(TEST_PACKAGES)
	$(RUN) -m tests.torture --kills $(or $(KILLS),10)

fuzz: | $(PACKAGES) $(TEST_PACKAGES)
	$(RUN) -m tests.fuzz --count 20000

results: | $(PACKAGES)
	$(RUN) -m results --source $(SOURCE) $(RESULTS)

.venv/packages: requirements.txt
	@echo "Setting up .venv: PyTorch with its CUDA libraries, 6 GB of disk, 9 while they are being installed."
	@python3 -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or later is needed")'
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/test-packages: requirements-dev.txt .venv/packages
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

# Only what the steps make; photographs, your own images and deltas.npy stay.
clean:
	rm -rf .venv demo .pytest_cache .ruff_cache
	rm -f $(W)/train_images.npy $(W)/train_labels.npy $(W)/train_rows.npy $(W)/train_output.npy \
	    $(W)/test_images.npy $(W)/test_labels.npy $(W)/test_rows.npy $(W)/training_output.npy \
	    $(W)/train_output_2.npy $(W)/train_output_2.json $(W)/deltas_3.npy $(W)/test_output_1.npy $(W)/test_output_2.npy \
	    $(W)/test_output_3.npy $(W)/dataset.json $(W)/train_output.json $(W)/*.lock \
	    $(W)/model_1.pt $(W)/model_1.json $(CASCADE) $(CASCADE:.pt=.json) \
	    $(JOINTS:%=$(W)/model_3_%.pt) $(JOINTS:%=$(W)/model_3_%.json) $(JOINTS:%=$(W)/curves_3_%.csv) $(W)/model_*.resume.pt \
	    $(W)/metrics_stage_*.json $(W)/pdj_stage_*.png $(W)/poses_stage_*.png \
	    $(W)/errors_stage_*.png $(W)/learning_stage_2.png $(W)/curves_stage_*.png $(W)/curves_stage_1.csv $(JOINTS:%=$(W)/curves_%.csv) $(W)/report.html \
	    $(W)/*.npy.tmp $(W)/*.pt.tmp $(W)/*.json.tmp $(W)/*.png.tmp $(W)/*.csv.tmp $(W)/*.html.tmp
