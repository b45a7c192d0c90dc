"""The Legendre memory on the chip."""

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.frontends.lmu_layers import legendre_memory


def test_order_4_is_held_and_fades_as_the_matrix_says():
    memory = ld.chip_memory()
    assert memory.error <= 0.25
    state, _ = legendre_memory(4, 200.0, "zoh")
    assert memory.radius == pytest.approx(np.abs(np.linalg.eigvals(state)).max(), abs=5e-3)
    assert f"{memory.error:.2f}" in str(memory)


def test_its_error_is_that_of_a_memory_in_floats():
    memory = ld.chip_memory()
    assert memory.deployment.mapping.n_cores == 1
    state, given = legendre_memory(4, 200.0, "zoh")
    rng = np.random.default_rng(1)
    times = np.arange(60)
    phases, periods = rng.uniform(0, 2 * np.pi, (2, 8, 1)), rng.uniform(12, 40, (8, 1))
    x = (0.7 * np.sin(2 * np.pi * times / periods + phases[0]))[:, :, None]
    found = memory.deployment.run(x).by_frame["state"]
    exact, m = np.zeros_like(found), np.zeros((8, 4))
    for step in range(20 * len(times)):
        m = m @ state.T + x[:, step // 20] * given
        exact[:, step // 20] += m / 20
    assert np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)) < 0.25


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
