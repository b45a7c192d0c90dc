import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROBE = """
import loihi_deploy.chip.boards, loihi_deploy.data
print(loihi_deploy.__file__)
print(*loihi_deploy.chip.boards.board_names())
print(len(loihi_deploy.data.fashion_mnist(n_train=10).y_train))
from pathlib import Path
print((Path(loihi_deploy.__file__).parent / "report" / "template.html.j2").stat().st_size)
"""


def probe(folder):
    """Import the package that lies in a folder, from elsewhere."""
    program = f"import sys; sys.path.insert(0, {str(folder)!r}){PROBE}"
    output = subprocess.run(
        [sys.executable, "-c", program], cwd=folder.parent, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert Path(output[0]).is_relative_to(folder)
    return output[1:]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (path,) = folder.glob("*.whl")
    return path


def test_boards_and_data_are_found_in_a_checkout_and_in_a_wheel(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    in_checkout, in_wheel = probe(ROOT), probe(tmp_path / "site")
    assert in_checkout == in_wheel
    assert in_wheel[0].split()[0] == "loihi"
    assert in_wheel[1] == "10"


def test_wheel_holds_licences_and_types_and_nothing_from_outside(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "loihi_deploy/py.typed" in names
    assert sum(Path(name).name == "LICENSE" for name in names) == 1
    assert any(name.endswith("licenses/loihi_deploy/data/LICENSE-fashion-mnist.txt") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"loihi_deploy"}
