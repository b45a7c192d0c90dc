from dataclasses import replace

import pytest

import loihi_deploy as ld
from loihi_deploy.errors import InputError


def test_equal_options_are_equal():
    assert ld.DeployOptions(target_rate=100.0) == ld.DeployOptions(target_rate=100.0)
    assert ld.DeployOptions() != ld.DeployOptions(neuron="lif")


def test_every_bad_option_is_named():
    with pytest.raises(InputError) as caught:
        ld.DeployOptions(neuron="LIF", encoder="onoff", percentile=101, synapse=float("nan"), dt="1")
    assert {problem.where for problem in caught.value.problems} == {
        "neuron",
        "encoder",
        "percentile",
        "synapse",
        "dt",
    }
    assert "Try 'on_off'" in str(caught.value)


def test_the_former_name_of_an_option_goes_on_working():
    options = ld.DeployOptions(balance_steps=40)
    assert options == ld.DeployOptions(bias_correction_steps=40)
    assert options.balance_steps == options.bias_correction_steps == 40
    assert replace(options, dt=0.002).bias_correction_steps == 40
    assert "balance_steps" not in options.as_dict()
    with pytest.raises(InputError, match="given twice"):
        ld.DeployOptions(balance_steps=40, bias_correction_steps=40)
    with pytest.raises(InputError, match="bias_correction_steps"):
        ld.DeployOptions(balance_steps=-1)
