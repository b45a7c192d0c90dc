import inspect
import pickle

import pytest

from loihi_deploy import errors
from loihi_deploy.errors import ConversionError, LoihiDeployError, Problem, UnknownBoardError, missing_extra

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, LoihiDeployError) and kind is not LoihiDeployError
]


@pytest.mark.parametrize("kind", KINDS)
def test_each_error_is_in_the_tree_with_its_builtin(kind):
    base, builtin = kind.__bases__
    assert base is LoihiDeployError
    assert builtin.__module__ == "builtins"
    assert f"── {kind.__name__}({builtin.__name__}) " in errors.__doc__


@pytest.mark.parametrize("kind", [LoihiDeployError, *KINDS])
def test_errors_carry_their_problems_through_pickle(kind):
    problems = [
        Problem("too many compartments", "core 3", 1100, 1024, "Split the layer"),
        Problem("no spikes"),
    ]
    error = pickle.loads(pickle.dumps(kind("Cannot map 'net'", problems)))
    assert type(error) is kind
    assert error.problems == tuple(problems)
    assert str(error) == (
        "Cannot map 'net' (2 problems):\n"
        "  - core 3: too many compartments (found 1100, allowed 1024). Split the layer.\n"
        "  - no spikes."
    )


def test_one_problem_reads_as_one_line():
    assert str(UnknownBoardError.single("unknown board", value="x")) == "unknown board (found x)."
    assert str(ConversionError("Cannot convert", Problem("it is odd", "layer 'a'"))) == (
        "Cannot convert. layer 'a': it is odd."
    )
    assert str(ConversionError("Cannot convert")) == "Cannot convert"


def test_zero_is_shown_as_a_value():
    assert str(Problem("too few samples", value=0, limit=1)) == "too few samples (found 0, allowed 1)."


def test_missing_extra_tells_how_to_install_it():
    error = missing_extra("tensorflow", "Converting a Keras model")
    assert isinstance(error, ImportError)
    assert "Converting a Keras model needs the package 'tensorflow'" in str(error)
    assert "pip install 'loihi-deploy[convert]'" in str(error)
