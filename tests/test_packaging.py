import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import yaml

import loihi_deploy as ld
from tools import release_notes

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


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The source archive of what git has, unpacked; untracked files of whoever runs this do not count."""
    folder = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (path,) = folder.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")
    return folder / path.name.removesuffix(".tar.gz")


def test_the_source_archive_holds_what_the_tests_and_a_build_need(sdist):
    wanted = (
        "CITATION.cff",
        "CHANGELOG.md",
        "LICENSE",
        "Makefile",
        "SECURITY.md",
        "README.md",
        "pyproject.toml",
    )
    assert [name for name in wanted if not (sdist / name).is_file()] == []
    for part in (
        "docs/index.md",
        "hardware_configs/nahuku32.toml",
        "tests/test_packaging.py",
        "loihi_deploy/py.typed",
    ):
        assert (sdist / part).is_file()
    assert not list(sdist.rglob("__pycache__"))


def test_a_wheel_from_the_source_archive_is_that_from_the_checkout(sdist, wheel, tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=sdist, capture_output=True, check=True)
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as ours, zipfile.ZipFile(wheel) as theirs:
        digests = [{item.filename: item.CRC for item in each.infolist()} for each in (ours, theirs)]
    assert digests[0] == digests[1]


def test_the_metadata_names_links_and_every_extra(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    links = dict(link.split(", ") for link in metadata.get_all("Project-URL"))
    assert links.keys() == {"Documentation", "Repository", "Issues", "Changelog"}
    assert all(link.startswith(links["Repository"]) for link in links.values())
    assert {"cluster", "convert", "explore", "netx", "onnx", "report"} <= set(
        metadata.get_all("Provides-Extra")
    )
    assert metadata["Version"] == ld.__version__
    targets = re.findall(r"\]\(([^)\s]+)", metadata.get_payload())
    assert len(targets) > 20
    assert all(target.startswith("https://") for target in targets)
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == ld.__version__
    assert cited["repository-code"] == links["Repository"]
    assert " AND ".join(cited["license"]) == metadata["License-Expression"]


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_workflows_and_templates_are_yaml(path):
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    for job in content.get("jobs", {}).values():
        assert job["timeout-minutes"] > 0


CHANGELOG = """# Changelog

## Unreleased

## 0.2.0 - 2026-03-04

### Added

- Something.

## 0.1.0 - 2026-01-31

- The first.
"""


def release(folder, tag, version="0.2.0", cited="0.2.0", changelog=CHANGELOG):
    """What the tool says of a tag, for a project in a folder."""
    (folder / "loihi_deploy").mkdir()
    (folder / "loihi_deploy" / "__init__.py").write_text(f'__version__ = "{version}"\n')
    (folder / "CITATION.cff").write_text(f"title: x\nversion: {cited}\n")
    (folder / "CHANGELOG.md").write_text(changelog)
    return release_notes.problems(tag, folder)


def test_a_release_prints_its_changes_alone(tmp_path, capsys):
    assert release(tmp_path, "v0.2.0") == []
    assert release_notes.main("v0.2.0", tmp_path) == 0
    assert capsys.readouterr().out == "### Added\n\n- Something.\n"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"tag": "v0.2.1"}, "says 0.2.0, the tag says 0.2.1"),
        ({"tag": "v0.2.0", "cited": "0.1.0"}, "CITATION.cff says 0.1.0"),
        (
            {"tag": "v0.2.0", "changelog": CHANGELOG.replace("2026-03-04", "soon")},
            "'## 0.2.0 - YEAR-MONTH-DAY'",
        ),
        ({"tag": "v0.2.0", "changelog": "# Changelog\n"}, "no section"),
    ],
)
def test_what_keeps_a_tag_from_being_published(given, says, tmp_path, capsys):
    assert says in "\n".join(release(tmp_path, **given))
    assert release_notes.main(given["tag"], tmp_path) == 1
    assert capsys.readouterr().out == ""


def test_the_changelog_opens_with_what_is_not_released():
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", heading) for heading in headings[1:])


def test_every_make_target_stands_once_and_what_the_makefile_lists_is_there():
    """A target that stands twice has the recipe of the second; one that is only .PHONY does nothing."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z][a-z0-9-]*):(?!=)", text, re.MULTILINE)
    assert len(targets) == len(set(targets))
    phony = {name for line in re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE) for name in line.split()}
    assert phony == set(targets)
    assert set(re.findall(r"^# make ([a-z0-9-]+) ", text, re.MULTILINE)) == phony
