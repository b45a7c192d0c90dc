"""Every block of Python and every command of README.md and docs/ runs."""

import re

import pytest

import loihi_deploy as ld

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
