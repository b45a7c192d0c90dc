"""What is loaded when, each in a process of its own."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from loihi_deploy.errors import MissingExtraError
from loihi_deploy.frontends import compat, import_nengo_dl, import_tensorflow


def run(script):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nengo_dl_runs_and_leaves_no_stand_ins_behind():
    out = run(
        """
        import sys, warnings
        warnings.simplefilter("error", UserWarning)
        from loihi_deploy.frontends import import_nengo_dl, import_tensorflow
        nengo_dl = import_nengo_dl()
        assert import_nengo_dl() is nengo_dl
        keras = sys.modules.get("keras")
        assert keras is None or hasattr(keras, "__version__")
        warnings.simplefilter("ignore")
        tf = import_tensorflow()
        k = tf.keras.layers
        model = tf.keras.Sequential([k.Input((4, 4, 1)), k.Conv2D(2, 3, activation="relu"), k.Flatten(), k.Dense(2)])
        print("verified", nengo_dl.Converter(model).verify())
        """
    )
    assert out.splitlines()[-1] == "verified True"


@pytest.mark.parametrize("first", ["nengo_dl", "nengo_loihi"])
def test_the_chip_s_neurons_are_trained_with_whichever_is_loaded_first(first):
    pytest.importorskip("nengo_loihi")
    imports = ["import_nengo_dl()", "import_nengo_loihi()"]
    out = run(
        f"""
        import warnings
        import nengo, numpy as np
        from loihi_deploy.backends.nengo_loihi import import_nengo_loihi
        from loihi_deploy.frontends import import_nengo_dl
        {"; ".join(imports if first == "nengo_dl" else imports[::-1])}
        nengo_dl, nengo_loihi = import_nengo_dl(), import_nengo_loihi()
        warnings.simplefilter("ignore")
        with nengo.Network(seed=0) as network:
            probes = []
            for neuron in (nengo_loihi.LoihiLIF(), nengo_loihi.LoihiSpikingRectifiedLinear()):
                ensemble = nengo.Ensemble(1, 1, neuron_type=neuron, gain=[1.0], bias=[100.0])
                probes.append(nengo.Probe(ensemble.neurons))
        with nengo_dl.Simulator(network, progress_bar=False) as simulator:
            simulator.run_steps(100)
        print("spikes", *(int(np.count_nonzero(simulator.data[probe])) for probe in probes))
        """
    )
    assert all(int(count) > 0 for count in out.split("spikes ")[1].split()), out


@pytest.mark.parametrize("use", ["tensorflow", "tensorflow.keras"])
def test_keras_3_loaded_first_is_a_clear_error(use):
    out = run(
        f"""
        import os
        os.environ.pop("TF_USE_LEGACY_KERAS", None)
        import tensorflow as tf
        if {use!r} == "tensorflow.keras":
            tf.keras.layers
        from loihi_deploy.errors import MissingExtraError
        from loihi_deploy.frontends import import_nengo_dl
        version = tuple(int(part) for part in tf.__version__.split(".")[:2])
        try:
            import_nengo_dl()
            print("old TensorFlow" if version < (2, 16) else "no error")
        except MissingExtraError as error:
            print(error)
        """
    )
    assert "TF_USE_LEGACY_KERAS=1 before TensorFlow is imported" in out or "old TensorFlow" in out


def test_frameworks_that_are_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.delitem(sys.modules, "nengo_dl", raising=False)
    for load in (import_tensorflow, import_nengo_dl):
        with pytest.raises(MissingExtraError, match=r"pip install 'loihi-deploy\[convert\]'"):
            load()


def test_refusing_a_source_loads_no_framework():
    out = run(
        """
        import sys
        from loihi_deploy.frontends import convert
        try:
            convert("net.h5")
        except ValueError as error:
            print(error)
        print(sorted({"tensorflow", "nengo", "keras", "nengo_dl"} & set(sys.modules)))
        """
    )
    assert out.splitlines()[-1] == "[]"


def test_numpy_2_is_refused_for_nengo_loihi(monkeypatch):
    monkeypatch.setattr(np, "__version__", "2.0.1")
    with pytest.raises(MissingExtraError, match="numpy 2"):
        compat.refuse_numpy_2("The test")
    monkeypatch.setattr(np, "__version__", "1.26.4")
    compat.refuse_numpy_2("The test")
