# The six steps as a dependency graph: `make` after an edit runs just what is stale.
#
#   make demo     a rendered sample set through all six steps, in demo/; downloads the packages first
#   make          the six steps on the photographs in SOURCE (default: this folder)
#   make third    a third stage after that: 14 more refiners, and all scores again
#   make test     the linter and the tests, in WORKERS=2 processes of one thread each
#   make bench    measures each step's speed and memory, BENCH="--seconds 20"; a quarter of an hour
#   make torture  kills each step at random moments, KILLS=10 times; an hour or less
#   make fuzz     reads 20,000 mutated files
#   make results  runs, records and tabulates the rows of the README's table of results; with a GPU, some hours
#   make clean    frees what the steps, the demo and the virtual environment take
#
# Settings: WORKDIR=. (arrays and models), SOURCE=. (photographs), DATA=LSP_data.py (the script of step 1),
# NETWORK= (of stage 1, see Train_stage_1.py --help), REFINER=shared (one for all joints), RESUME=1 (go on with
# unfinished training), and
# STEP_1= ... STEP_6= for further flags of a step, as in   make STEP_2="--epochs 20" STEP_3=--flip-test STEP_6=--flip-test
# (STAGE_3= where those of make third are others than STEP_5, such as --weights former).
# A step that was last made with other flags is stale, so give the same ones again to keep what is there.
# RESULTS="--size cpu --part FILE" sets flags of make results, see python -m results --help.
# PYTHON=python3 uses an interpreter that has the packages and installs nothing.

WORKDIR ?= .
SOURCE ?= .
DATA ?= LSP_data.py
W := $(or $(strip $(WORKDIR)),.)
ifeq ($(origin PYTHON),command line)
  RUN := $(PYTHON)
else
  RUN := .venv/bin/python
  PACKAGES := .venv/packages
  TEST_PACKAGES := .venv/test-packages
endif

# What each step is made anew for: $(call files_of,SCRIPT) is the script and all that it imports.
SCRIPTS := $(DATA) Train_stage_1.py test_stage_1.py Generate_train_output.py Train_stage_2.py test_stage_2.py
FACTS := -B -m deeppose.dependencies $(W) $(SCRIPTS)
FACTS := $(shell $(RUN) $(FACTS) 2>/dev/null || python3 $(FACTS))
values_of = $(patsubst $(1):%,%,$(filter $(1):%,$(FACTS)))
files_of = $(or $(call values_of,$(1)),no_python)

ifneq ($(filter-out shared joints,$(REFINER)),)
  $(error REFINER=$(REFINER): is neither shared, one network for all joints, nor joints, one for each)
endif

# The joints are known after step 1; before it, `make -n` shows step 5 as one run for every joint.
JOINTS := $(call values_of,joint)
NAMES := $(if $(filter shared,$(REFINER)),shared,$(or $(JOINTS),every_joint))
# What step 5 is asked for, $(call wanted,NAME)
wanted = $(if $(filter shared,$(REFINER)),--refiner shared,$(if $(JOINTS),--joints $(1)))
CASCADE := $(NAMES:%=$(W)/model_%.pt)
CASCADE_3 := $(NAMES:%=$(W)/model_3_%.pt)
# Stage 3 is made by `make third`; what is there of it is kept fresh and scored.
SCORED_3 := $(if $(THIRD),$(CASCADE_3),$(wildcard $(CASCADE_3)))
DELTAS := $(firstword $(wildcard $(W)/deltas.npy) deltas.npy)

FLAGS_1 := $(filter-out LSP_data.py,$(DATA)) $(STEP_1)
FLAGS_2 := $(if $(NETWORK),--network $(NETWORK)) $(STEP_2)
STAGE_3 ?= $(STEP_5)
WORKERS ?= 2

# The flags that FILE was made with are written to FILE.flags when its step is complete. $(call stale,FILES,FLAGS):
# those of the files that were made with other flags (none, where that is not known).
record = @printf '%s\n' '$(subst ','\'',$(strip $(1)))' > $@.flags
differ = $(subst x$(strip $(1))x,,x$(strip $(2))x)
stale = $(foreach file,$(1),$(if $(call differ,$(shell cat $(file).flags 2>/dev/null),$(2)),$(file)))

.NOTPARALLEL:  # every step uses all cores by itself
.PHONY: all third scores demo test bench torture fuzz results clean no_python other_flags
# Steps write their files whole or not at all, so a make that is stopped must delete none.
.PRECIOUS: $(W)/dataset.json $(W)/model_1.pt $(W)/train_output.npy $(CASCADE) $(CASCADE_3) \
           $(W)/metrics_stage_1.json $(W)/metrics_stage_2.json

# The rest is another make's, since its rule for each joint needs the joints; so `make -n` may show step 1 twice.
all: $(W)/dataset.json
	@$(MAKE) --no-print-directory scores

third: $(W)/dataset.json
	@$(MAKE) --no-print-directory scores THIRD=1

scores: $(W)/metrics_stage_1.json $(W)/metrics_stage_2.json

$(call stale,$(W)/dataset.json,$(FLAGS_1)): other_flags
$(call stale,$(W)/model_1.pt,$(FLAGS_2)): other_flags
$(call stale,$(W)/metrics_stage_1.json,$(STEP_3)): other_flags
$(call stale,$(W)/train_output.npy,$(STEP_4)): other_flags
$(call stale,$(CASCADE),$(STEP_5)): other_flags
$(call stale,$(SCORED_3),$(STAGE_3)): other_flags
$(call stale,$(W)/metrics_stage_2.json,$(STEP_6)): other_flags

# Step 1. dataset.json is written last, so it stands for all of the step's arrays.
$(W)/dataset.json: $(call files_of,$(DATA)) | $(PACKAGES)
	$(RUN) $(DATA) --workdir $(W) --source $(SOURCE) $(STEP_1)
	$(call record,$(FLAGS_1))

$(W)/model_1.pt: $(W)/dataset.json $(call files_of,Train_stage_1.py) | $(PACKAGES)
	$(RUN) Train_stage_1.py --workdir $(W) $(if $(RESUME),--resume) $(FLAGS_2)
	$(call record,$(FLAGS_2))

$(W)/metrics_stage_1.json: $(W)/model_1.pt $(call files_of,test_stage_1.py) | $(PACKAGES)
	$(RUN) test_stage_1.py --workdir $(W) $(STEP_3)
	$(call record,$(STEP_3))

$(W)/train_output.npy: $(W)/model_1.pt $(call files_of,Generate_train_output.py) | $(PACKAGES)
	$(RUN) Generate_train_output.py --workdir $(W) $(STEP_4)
	$(call record,$(STEP_4))

$(CASCADE): $(W)/model_%.pt: $(W)/train_output.npy $(DELTAS) $(call files_of,Train_stage_2.py) | $(PACKAGES)
	$(RUN) Train_stage_2.py --workdir $(W) $(call wanted,$*) $(if $(RESUME),--resume) $(STEP_5)
	$(call record,$(STEP_5))

$(CASCADE_3): $(W)/model_3_%.pt: $(CASCADE) | $(PACKAGES)
	$(RUN) Train_stage_2.py --workdir $(W) --stage 3 $(call wanted,$*) $(if $(RESUME),--resume) $(STAGE_3)
	$(call record,$(STAGE_3))

$(W)/metrics_stage_2.json: $(CASCADE) $(SCORED_3) $(call files_of,test_stage_2.py) | $(PACKAGES)
	$(RUN) test_stage_2.py --workdir $(W) $(STEP_6)
	$(call record,$(STEP_6))

no_python:
	@echo "make: neither $(RUN) nor python3 runs, which finds out what each step is made of" >&2; exit 1

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
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(WORKERS) --dist loadfile

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

# Only what the steps make, for the joints in dataset.json; photographs, your own images and deltas.npy stay.
STAGES := 1 2 3
REFINERS := $(JOINTS) shared
SETS := train_images train_labels train_rows train_output training_output train_output_2 test_images test_labels \
        test_rows $(STAGES:%=test_output_%) $(STAGES:%=test_confidence_%) deltas_3
MODELS := model_1 $(REFINERS:%=model_%) $(REFINERS:%=model_3_%)
PICTURES := pdj_stage_1 poses_stage_1 curves_stage_1 pdj_stage_2 poses_stage_2 curves_stage_2 errors_stage_2 \
            learning_stage_2 curves_stage_3 box_scale_stage_1
MADE := $(SETS:=.npy) train_photographs.txt test_photographs.txt dataset.json train_output.json train_output_2.json \
        deltas_3.json $(MODELS:=.pt) $(MODELS:=.resume.pt) $(MODELS:=.json) curves_stage_1.csv \
        $(REFINERS:%=curves_%.csv) $(REFINERS:%=curves_3_%.csv) metrics_stage_1.json metrics_stage_2.json result.json \
        test_annotations.json $(PICTURES:=.png) report.html
KEPT := $(foreach model,$(MODELS),$(model).epoch_[0-9]*.pt $(model).epoch_[0-9]*.json)
LOCKS := dataset $(MODELS) train_output train_output_2 deltas deltas_3 test_output_1 test_output_2 curves_stage_1 report

clean:
	rm -rf .venv demo .pytest_cache .ruff_cache
	rm -f $(addprefix $(W)/,$(MADE) $(MADE:=.tmp) deltas.npy.tmp deltas.json.tmp $(MADE:=.flags) $(LOCKS:=.lock) $(KEPT) $(KEPT:=.tmp))
