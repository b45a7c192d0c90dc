"""The picture of a report for the README: ``python tools/draw_report.py``; needs TensorFlow and a Chromium browser.

A small network is trained on the bundled images, deployed and reported on; the picture shows the beginning of the page,
and beside it where it goes on with a sample.
"""

from __future__ import annotations

import html
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import loihi_deploy as ld
from loihi_deploy.training import train_convnet

TARGET = Path(__file__).parents[1] / "docs" / "pictures" / "report.png"
WIDTH, HEIGHT = 1400, 900
SCALE = 0.7
"""Of the page in the picture."""
RIGHT = "A sample"
"""The section that the right half begins with."""
PICTURE = """<!DOCTYPE html><meta charset="utf-8">
<style>
body {{ margin: 0; display: flex; width: {width}px; height: {height}px; overflow: hidden; background: #fff; }}
div {{ width: 50%; overflow: hidden; border-left: 1px solid #d9dfe6; }}
iframe {{ border: 0; width: {inner_width}px; height: {inner_height}px; }}
iframe {{ transform: scale({scale}); transform-origin: 0 0; }}
</style>
<div><iframe scrolling="no" srcdoc="{page}"></iframe></div>
<div><iframe scrolling="no" id="right" srcdoc="{page}"></iframe></div>
<script>
right.onload = () => {{
  const titles = [...right.contentDocument.querySelectorAll("h2")];
  const title = titles.find((h2) => h2.textContent === "{section}");
  right.contentWindow.scrollTo(0, title.getBoundingClientRect().top - 16);
}};
</script>
"""


def report(path: Path) -> None:
    """Train, deploy, and write the report."""
    data = ld.data.fashion_mnist()
    deployment = ld.deploy(train_convnet(data), "nahuku32", data.x_train[:500])
    x, y = data.x_test[::4], data.y_test[::4]
    command = "loihi-deploy report demo.loihi --data fashion-mnist --limit 500 -o report.html"
    deployment.report(path, x, y, command=command)


def photograph(page: Path, target: Path, chromium: str) -> None:
    """Put two parts of the page beside each other and take a picture."""
    text = PICTURE.format(
        width=WIDTH,
        height=HEIGHT,
        inner_width=round(WIDTH / 2 / SCALE),
        inner_height=round(HEIGHT / SCALE),
        scale=SCALE,
        section=RIGHT,
        page=html.escape(page.read_text(encoding="utf-8")),
    )
    both = page.with_name("both.html")
    both.write_text(text, encoding="utf-8")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--virtual-time-budget=5000",
    ]
    options += [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={target}"]
    subprocess.run([chromium, *options, both.as_uri()], check=True, capture_output=True)


def main() -> None:
    """Draw the picture."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("No Chromium browser is installed")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "report.html")
        report(page)
        photograph(page, TARGET, chromium)
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
