"""Every block of Python and every command of README.md and docs/ runs."""

import re

import pytest

import loihi_deploy as ld
from tools import notebooks

from . import pages

LANGUAGES = {"python", "console", "setup", "text", "toml", "json", "yaml", "{eval-rst}", "{toctree}"}


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pages.run_page(page, tmp_path)


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_blocks_name_their_language_and_skips_their_reason(page):
    text = page.read_text(encoding="utf-8")
    found = list(pages.blocks(text))
    assert {block.language for block in found} <= LANGUAGES
    assert all(block.skip != "" for block in found)
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * sum(
        block.language != "setup" for block in found
    )
    assert text.count("<!-- skip:") == sum(block.skip is not None for block in found)


PAGE = """
<!-- setup
x = [1]
-->
```python
import pathlib
x.append(2)
pathlib.Path("made").write_text(str(x))
```
<!-- skip: there is no such thing -->
```python
import nowhere
```
```console
$ loihi-deploy boards loihi   # a comment
$ rm -rf everything
loihi ...
```
"""


def run(text, folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "page.md").write_text(text)
    pages.run_page(folder / "page.md", folder)


def test_the_runner_runs_what_it_should(tmp_path, monkeypatch):
    run(PAGE, tmp_path, monkeypatch)
    assert (tmp_path / "made").read_text() == "[1, 2]"


@pytest.mark.parametrize(
    ("before", "after", "error", "says"),
    [
        ("x.append(2)", "raise KeyError(x)", KeyError, "1"),
        ("import nowhere", "import", SyntaxError, "page.md, line 12"),
        ("boards loihi", "boards lohi", AssertionError, "Did you mean 'loihi'"),
        ("boards loihi", "nothing", AssertionError, "block at line 15"),
    ],
)
def test_the_runner_says_what_fails(before, after, error, says, tmp_path, monkeypatch):
    with pytest.raises(error, match=says):
        run(PAGE.replace(before, after), tmp_path, monkeypatch)


def test_every_public_name_is_described():
    text = (pages.ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    described = re.findall(r"^(?:\.\. auto(?:function|class):: |\| `)(\w+)", text, re.MULTILINE)
    assert sorted(described) == sorted(ld.PUBLIC_NAMES)


LINK = re.compile(r"\]\(([^)#\s]+)")
PARTS = (".github", "docs", "examples", "hardware_configs", "loihi_deploy", "tests", "tools")
READABLE = {".cff", ".ipynb", ".j2", ".json", ".md", ".py", ".toml", ".yml"}


@pytest.mark.parametrize("page", [*pages.PAGES, *notebooks.NOTEBOOKS], ids=lambda page: page.name)
def test_links_to_other_pages_and_pictures_are_alive(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_the_address_of_the_repository_stands_in_two_files():
    """So that a project that moves changes no more than these; what is built reads it there."""
    address = repository()
    texts = [*pages.ROOT.glob("*.*"), *(path for part in PARTS for path in (pages.ROOT / part).rglob("*.*"))]
    named = [path.name for path in texts if path.suffix in READABLE and address in path.read_text("utf-8")]
    assert sorted(named) == ["CITATION.cff", "pyproject.toml"]


def repository():
    text = (pages.ROOT / "pyproject.toml").read_text()
    return re.search(r'^Repository = "(.*)"$', text, re.MULTILINE)[1]


NAMED = re.compile(r"`((?:\w+/)*\w+\.(?:py|toml|json|html\.j2)|(?:\w+/)+)`")


def test_files_to_extend_are_there():
    text = (pages.ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    named = NAMED.findall(text)
    assert len(named) > 10
    for name in named:
        assert (pages.ROOT / "loihi_deploy" / name).exists() or (pages.ROOT / name).exists(), name


def test_every_command_of_make_is_described_and_defined_once():
    lines = (pages.ROOT / "Makefile").read_text().splitlines()
    described = {line.split()[2] for line in lines if line.startswith("# make ")}
    defined = [line.split(":")[0] for line in lines if re.match(r"[a-z][a-z0-9-]*:", line)]
    assert sorted(defined) == sorted(described)


def test_every_page_is_in_a_table_of_contents():
    index = (pages.ROOT / "docs" / "index.md").read_text()
    listed = {
        line
        for block in pages.blocks(index)
        if block.language == "{toctree}"
        for line in block.code.splitlines()
    }
    written = (*pages.PAGES[1:], *notebooks.NOTEBOOKS)
    docs = {str(page.relative_to(pages.ROOT / "docs").with_suffix("")) for page in written}
    assert docs - {"index"} <= listed


def test_every_picture_is_drawn_by_the_code(monkeypatch):
    monkeypatch.syspath_prepend(pages.ROOT / "tools")
    import draw_pictures as draw

    shown = {name for page in pages.PAGES for name in re.findall(r"pictures/(\w+)\.svg", page.read_text())}
    drawn = {picture.__name__ for picture in draw.PICTURES}
    assert shown == drawn == {path.stem for path in draw.FOLDER.glob("*.svg")}


def test_a_picture_can_be_drawn_again(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(pages.ROOT / "tools")
    import draw_pictures

    monkeypatch.setattr(draw_pictures, "PICTURES", (draw_pictures.pipeline, draw_pictures.arithmetic))
    draw_pictures.draw(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"pipeline.svg", "arithmetic.svg"}
