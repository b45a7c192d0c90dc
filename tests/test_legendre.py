"""The Legendre memory on the chip."""

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.frontends.keras_time import legendre_memory


def test_order_4_is_held_and_fades_as_the_matrix_says():
    memory = ld.chip_memory()
    assert memory.error <= 0.25
    state, _ = legendre_memory(4, 200.0, "zoh")
    assert memory.radius == pytest.approx(np.abs(np.linalg.eigvals(state)).max(), abs=5e-3)
    assert f"{memory.error:.2f}" in str(memory)


@pytest.mark.follows(
    "Take more steps a frame and more neurons, or keep it on the host: keras_lmu.LMU as the first layer"
)
def test_beyond_its_order_and_with_few_steps_the_error_is_said():
    with pytest.warns(
        ld.errors.LoihiDeployWarning, match=r"order 8.*relative error of its state \(found \d\.\d\d"
    ):
        memory = ld.chip_memory(8, 20, 5, 100)
    assert memory.error > 0.25
    with pytest.warns(ld.errors.LoihiDeployWarning, match="relative error") as warned:
        few = ld.chip_memory(4, 10, 5, 60)
    assert len(warned) == 1
    assert ld.chip_memory(4, 10, 20, 320).error < 0.3 * few.error


@pytest.mark.follows("Take more neurons, or others: another seed")
@pytest.mark.filterwarnings("ignore:.*relative error:loihi_deploy.errors.LoihiDeployWarning")
def test_a_memory_that_does_not_forget_is_named():
    with pytest.warns(ld.errors.LoihiDeployWarning, match="spectral radius of its rounded recurrence"):
        memory = ld.chip_memory(4, 60, 5, 30, seed=5)
    assert memory.radius >= 1
    assert ld.chip_memory(4, 60, 5, 30, seed=0).radius < 1
    assert ld.chip_memory(4, 60, 5, 100, seed=5).radius < 1
