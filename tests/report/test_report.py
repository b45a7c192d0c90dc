"""Reports: what they hold, that forms agree, and that a browser shows them without complaint."""

import html
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

import loihi_deploy as ld
from loihi_deploy.analysis.latency import latencies
from loihi_deploy.cli import commands
from loihi_deploy.errors import InputError, LoihiDeployWarning, MissingExtraError, OutputError
from loihi_deploy.mapping.core_plan import AMOUNTS, limit_rows
from loihi_deploy.report import fronts, pictures, sections, write_reports
from loihi_deploy.report.network import WIDTH, network_drawing
from tests.analysis.test_frames import network
from tests.sequences import frames as sequences

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "report.schema.json").read_text(encoding="utf-8"))
STEPS = 20
NAME = "nxtf-mnist"
X = ld.benchmarks.inputs(NAME, 12)
Y = np.arange(12) % 10
DEPLOYMENT = ld.deploy(
    ld.benchmarks.NETWORKS[NAME](),
    "nahuku32",
    X,
    ld.DeployOptions(bias_correction_steps=0, normalization="none"),
)
VALUES = DEPLOYMENT.report_values(X, Y, STEPS, command="a <command>")
SECTIONS = {"data", "activity", "accuracy", "stages", "rates", "sample", "energy"}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_reports(path, {"net": VALUES})
    return path


def test_values_are_what_the_other_methods_give():
    evaluation = DEPLOYMENT.evaluate(X, Y, STEPS, by_step=True)
    assert VALUES["accuracy"]["n_correct"] == evaluation.n_correct
    assert VALUES["accuracy"]["by_step"] == evaluation.accuracy_by_step.tolist()
    assert VALUES["accuracy"]["rate_network"] == DEPLOYMENT.rate_accuracy(X, Y)
    confusion = np.array(VALUES["accuracy"]["confusion"])
    assert confusion.sum() == 12
    assert np.trace(confusion) == evaluation.n_correct
    assert VALUES["energy"] == DEPLOYMENT.energy(X, STEPS).values()
    run = DEPLOYMENT.run(X[:1], STEPS, record=["conv1"])
    assert VALUES["sample"]["raster"]["conv1"]["spikes"] == run.recorded["conv1"]["spikes"].sum()
    assert VALUES["sample"]["outputs_by_step"][-1] == run.outputs[0].tolist() == VALUES["sample"]["outputs"]
    rates = VALUES["rates"]["layers"]["conv1"]
    whole = DEPLOYMENT.run(X, STEPS, record=["conv1"]).recorded["conv1"]["spikes"]
    assert rates["silent"] == int((~whole.any(axis=(0, 1))).sum())
    assert rates["mean"] == pytest.approx(whole.mean() / 0.001, rel=1e-5)
    assert sum(rates["counts"]) == rates["neurons"] == whole.shape[2]


def test_distributions_of_weights_have_the_rounding_errors_that_quantization_found():
    groups = {group.population: group for group in DEPLOYMENT.program.scale_groups}
    assert set(VALUES["weights"]) == set(groups)
    for name, found in VALUES["weights"].items():
        assert found["rms_error"] == pytest.approx(groups[name].weight_rms_error, rel=1e-6)
        assert sum(found["before"]) == sum(found["after"]) == groups[name].n_weights


def test_sections_appear_only_with_their_data():
    without = DEPLOYMENT.report_values()
    assert not SECTIONS & set(without)
    unlabelled = DEPLOYMENT.report_values(X, steps=STEPS)
    assert set(unlabelled) & SECTIONS == SECTIONS - {"accuracy"}
    for values in (without, unlabelled, VALUES):
        jsonschema.validate(values, SCHEMA)


def test_the_schema_refuses_what_is_no_report():
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**VALUES, "other": 1}, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({name: value for name, value in VALUES.items() if name != "layers"}, SCHEMA)


class Tags(HTMLParser):
    """The tags of a page."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_the_page_needs_nothing_else_and_says_what_pictures_show(page):
    text = page.read_text(encoding="utf-8")
    tags = Tags(text).found
    addresses = [v for _, a in tags for k, v in a.items() if k in ("src", "href", "xlink:href") and v]
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert "@import" not in text
    assert not [tag for tag, _ in tags if tag == "script"]
    drawings = [a for tag, a in tags if tag == "figure"]
    assert len(drawings) >= 12
    assert all(len(a["aria-label"]) > 10 for a in drawings)
    ids = re.findall(r'<clipPath id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert len(text) < 3_000_000
    assert "a &lt;command&gt;" in text


def test_forms_agree(page, tmp_path):
    write_reports(tmp_path / "r.json", {"net": VALUES})
    write_reports(tmp_path / "r.txt", {"net": VALUES})
    assert json.loads((tmp_path / "r.json").read_text()) == VALUES
    text, shown = (tmp_path / "r.txt").read_text(), html.unescape(page.read_text(encoding="utf-8"))
    for layer in VALUES["layers"]:
        assert f"{layer['neurons']:,}" in text
        assert f"{layer['neurons']:,}" in shown
    accuracy = f"{100 * VALUES['accuracy']['value']:.2f} %"
    assert accuracy in text
    assert accuracy in shown


def test_the_same_values_make_the_same_page(page, tmp_path):
    write_reports(tmp_path / "again.html", {"net": VALUES})
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_two_side_by_side(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    DEPLOYMENT.save("a.loihi")
    DEPLOYMENT.with_readout_window(0.25).save("b.loihi")
    np.savez("test.npz", x=X, y=Y)
    arguments = ["report", "a.loihi", "b.loihi", "--data", "test.npz", "--steps", str(STEPS)]
    for ending in ("html", "json", "txt"):
        result = CliRunner().invoke(commands, [*arguments, "-o", f"r.{ending}"])
        assert result.exit_code == 0, result.output
    both = json.loads(Path("r.json").read_text())
    jsonschema.validate(both, SCHEMA)
    assert list(both["reports"]) == ["a.loihi", "b.loihi"]
    lines = Path("r.txt").read_text().splitlines()
    assert next(line for line in lines if line.startswith("option readout_window")).split()[2:] == [
        "0.5",
        "0.25",
        "≠",
    ]
    assert next(line for line in lines if line.startswith("cores")).split()[-1] != "≠"
    assert "≠" in Path("r.html").read_text(encoding="utf-8")


def test_what_cannot_be_reported(tmp_path, monkeypatch):
    (tmp_path / "r.html").write_text("before")
    with pytest.raises(InputError, match="labels do not fit"):
        DEPLOYMENT.report(tmp_path / "r.html", X, Y[:3])
    with pytest.raises(InputError, match="labels without samples"):
        DEPLOYMENT.report(tmp_path / "r.html", y=Y)
    with pytest.raises(InputError, match="no sample"):
        DEPLOYMENT.report(tmp_path / "r.html", X[:0], Y[:0])
    with pytest.raises(OutputError, match="Change the ending"):
        DEPLOYMENT.report(tmp_path / "r.pdf", X)
    with pytest.raises(OutputError, match="cannot be written"):
        DEPLOYMENT.report(tmp_path / "no" / "r.html", X)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"loihi-deploy\[report\]"):
        DEPLOYMENT.report(tmp_path / "r.html")
    DEPLOYMENT.report(tmp_path / "r.txt")
    assert (tmp_path / "r.html").read_text() == "before"


def test_single_figures(tmp_path):
    from matplotlib.figure import Figure

    plot = DEPLOYMENT.plot
    figures = [
        *(plot.cores(kind) for kind in ("population", "compartments", "synapse_words", "in_axons")),
        plot.rates(X, STEPS),
        plot.accuracy_by_step(X, Y, STEPS),
        plot.raster(X, STEPS, sample=11),
    ]
    assert all(isinstance(figure, Figure) for figure in figures)
    assert figures[0]._repr_png_().startswith(b"\x89PNG")  # what notebooks ask for
    figures[5].savefig(tmp_path / "by_step.svg")
    assert ET.parse(tmp_path / "by_step.svg").getroot().tag.endswith("svg")
    line = figures[5].axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(line, 100 * np.array(VALUES["accuracy"]["by_step"]))
    for wrong in (
        lambda: plot.cores("colour"),
        lambda: plot.raster(X, STEPS, sample=12),
        lambda: plot.raster(X, STEPS, sample=-1),
        lambda: plot.rates(X, 0),
        lambda: plot.rates(X[:, :3], STEPS),
    ):
        with pytest.raises(InputError):
            wrong()


def test_a_recurrent_network_is_reported_without_its_rate_network(tmp_path):
    name = "recurrent-lif"
    x = ld.benchmarks.inputs(name, 3)
    deployment = ld.deploy(
        ld.benchmarks.NETWORKS[name](), "nahuku32", options=ld.DeployOptions(normalization="none")
    )
    values = deployment.report_values(x, np.zeros(3, int), STEPS)
    jsonschema.validate(values, SCHEMA)
    assert "stages" not in values
    assert "rate_network" not in values["accuracy"]
    assert [row["layer"] for row in values["latency"]][-1] == "output"
    write_reports(tmp_path / "r.html", {"net": values})
    assert "neurons to neurons" in (tmp_path / "r.html").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="recurrent"):
        deployment.check(x, np.zeros(3, int), ld.Criteria(max_drop=0.5), steps=STEPS)


def test_a_sequence_is_reported_by_frame(tmp_path):
    x = sequences(20, 4)
    options = ld.DeployOptions(readout="mean", steps_per_frame=6)
    deployment = ld.deploy(network(), "loihi", x, options)
    y = deployment.run(x).outputs.argmax(axis=1)
    values = deployment.report_values(x, y)
    jsonschema.validate(values, SCHEMA)
    assert values["data"] == {"samples": 20, "frames": 4, "steps": 24, "labelled": True}
    accuracy = values["accuracy"]
    assert accuracy["value"] == 1
    assert accuracy["rate_network"] == deployment.rate_accuracy(x, y)
    assert accuracy["by_frame"] == deployment.evaluate(x, y, by_frame=True).accuracy_by_frame.tolist()
    assert "by_step" not in accuracy
    assert values["sample"]["output_steps"] == [6, 12, 18, 24]
    np.testing.assert_array_equal(
        values["sample"]["outputs_by_step"],
        [deployment.run(x[:1, :n]).outputs[0] for n in (1, 2, 3, 4)],
    )
    stages = {stage["name"]: stage["agreement"] for stage in values["stages"]["stages"]}
    assert stages == {s.name: s.agreement for s in deployment.verify(x, y, reference_samples=0).stages}
    check = deployment.check(x, y, ld.Criteria(max_drop=1.0))
    assert check.measured.figures["drop"] == deployment.rate_accuracy(x, y) - 1
    write_reports(tmp_path / "r.txt", {"net": values})
    assert "Accuracy by frame" in (tmp_path / "r.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("lengths", [None, [5, 3, 4, 5, 2, 5]])
def test_labels_of_frames_are_reported_frame_by_frame(lengths):
    x = sequences(6, 5)
    deployment = ld.deploy(network(), "loihi", x, ld.DeployOptions(readout="each", steps_per_frame=20))
    given = x if lengths is None else ld.Sequences(x, lengths=lengths)
    y = deployment.predict(given).argmax(axis=2)  # its last frame is held longer
    values = deployment.report_values(given, y)
    jsonschema.validate(values, SCHEMA)
    accuracy = values["accuracy"]
    assert accuracy["n_correct"] == accuracy["n_total"] == np.sum(lengths or [5] * 6)
    assert accuracy["by_frame"] == [1.0] * 5
    assert np.sum(accuracy["confusion"]) == np.trace(accuracy["confusion"]) == accuracy["n_total"]
    assert accuracy["rate_network"] == deployment.rate_accuracy(given, y)
    assert values["stages"]["stages"][-1]["accuracy"] == 1
    assert values["sample"]["label"] is None
    assert values["sample"]["output_steps"] == [20, 40, 60, 80, 100]
    (axes,) = deployment.plot.accuracy_by_step(given, y).axes
    assert axes.lines[0].get_ydata().tolist() == [100.0] * 5


def test_the_command_takes_labels_of_frames_and_says_that_values_are_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = sequences(6, 5)
    options = ld.DeployOptions(readout="each", steps_per_frame=4)
    deployment = ld.deploy(network(), "loihi", x, options)
    deployment.save("net.loihi")
    np.savez("frames.npz", x=x, y=deployment.predict(x).argmax(axis=2))
    np.savez("values.npz", x=x, y=deployment.run(x).outputs)
    result = CliRunner().invoke(commands, ["report", "net.loihi", "--data", "frames.npz"])
    assert result.exit_code == 0, result.output
    assert "Accuracy 100.00 % (30 of 30 frames)" in result.stdout
    result = CliRunner().invoke(commands, ["report", "net.loihi", "--data", "values.npz"])
    assert result.exit_code == 0, result.output
    assert "Accuracy" not in result.stdout
    assert "loihi-deploy evaluate says" in result.stderr


def test_what_a_run_loses_is_among_the_warnings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = sequences(20, 1)[:, 0]
    deployment = ld.deploy(network(), "loihi", x, ld.DeployOptions(bias_correction_steps=0))
    assert deployment.report_values(x, steps=STEPS)["warnings"] == list(deployment.notes)
    with pytest.warns(LoihiDeployWarning, match="Scale the samples") as caught:
        values = deployment.report_values(100 * x, np.zeros(20, int), STEPS)
    assert [str(warning.message) for warning in caught] == values["warnings"][len(deployment.notes) :]
    write_reports("r.html", {"net": values})
    assert "Scale the samples" in Path("r.html").read_text(encoding="utf-8")
    deployment.save("a.loihi")
    np.save("x.npy", 100 * x)
    both = ["report", "a.loihi", "a.loihi", "--samples", "x.npy", "--steps", str(STEPS)]
    result = CliRunner().invoke(commands, both)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("a.loihi (2): ") == len(values["warnings"])


def test_latency_is_that_of_the_program():
    found = {row["layer"]: row for row in VALUES["latency"]}
    layers = {layer.name: layer for layer in latencies(DEPLOYMENT.program)}
    assert list(found) == list(layers)
    for name, row in found.items():
        assert row["first_step"] == layers[name].hops + 1
        assert row["heard_from"] == pytest.approx(layers[name].delay + 1)
        assert row["heard_from_short"] <= row["heard_from"]
    # the layer first speaks where the table says, in a run on the strongest input that there is
    spikes = DEPLOYMENT.run(np.ones_like(X[:1]), STEPS, record=["conv1"]).recorded["conv1"]["spikes"]
    assert np.flatnonzero(spikes[0].any(axis=1))[0] + 1 >= found["conv1"]["first_step"]


def test_the_binding_limit_is_that_which_most_cores_are_needed_for():
    rows = {row["what"]: row for row in limit_rows(VALUES["mapping"])}
    (binding,) = [row for row in rows.values() if row["binding"]]
    bounds = [population["bounds"] for population in VALUES["mapping"]["populations"]]
    assert binding["needed"] == pytest.approx(max(sum(b[name] for b in bounds) for name in bounds[0]))
    assert not any(row["exceeded"] for row in rows.values())


def test_limits_that_add_up_are_drawn_in_full():
    rows = limit_rows(VALUES["mapping"])
    assert {row["what"] for row in rows if row["adds_up"]} == {name.replace("_", " ") for name in AMOUNTS}
    bars = pictures.resources(rows).axes[0].patches
    alphas = dict(
        zip((row["what"] for row in rows if row["share"]), (bar.get_alpha() for bar in bars), strict=True)
    )
    assert alphas["compartments"] == alphas["synapse words"] == 1
    assert alphas["index bits"] < 1
    full = next(row for row in rows if row["what"] == "index bits")
    over = pictures.resources([{**full, "exceeded": True}]).axes[0].patches
    assert over[0].get_alpha() == 1


def test_figures_of_an_exploration_have_their_units():
    axes = ("below", "%"), ("energy", "mJ")
    plot = fronts.front([(0.01, 2.0, True)], [("a (3)", 0.01, 2.0, True)], *axes).axes[0]
    assert (plot.get_ylabel(), plot.get_xlabel()) == ("energy, mJ", "below, %")
    assert plot.xaxis.get_major_formatter()(0.01, 0).startswith("1")
    assert [text.get_text() for text in plot.texts] == ["a (3)"]


def test_what_lies_far_beyond_a_limit_is_counted_and_not_drawn():
    tried = [(0.001, 2.0, True), (0.02, 1.0, False), (0.6, 0.5, False), (0.9, 0.4, False)]
    plot = fronts.front(tried, [("a", 0.02, 1.0, False)], ("below", "%"), ("energy", "mJ"), 0.005).axes[0]
    drawn = [tuple(place) for dots in plot.collections for place in dots.get_offsets().tolist()]
    assert sorted(set(drawn)) == [(0.001, 2.0), (0.02, 1.0)]  # what has a name is always there
    assert plot.get_title(loc="left") == "2 of 4 lie further to the right"
    assert {tuple(line.get_xdata()) for line in plot.lines} == {(0.005, 0.005)}
    for few in ([], [(0.001, 2.0, True)]):
        plot = fronts.front(few, [], ("below", "%"), ("energy", "mJ"), 0.5).axes[0]
        assert not plot.lines
        assert len(plot.collections) == len(few)


def test_the_network_is_drawn_with_a_line_for_each_projection():
    values = {
        "inputs": {"x": [4]},
        "layers": [{"name": name, "place": "chip", "shape": [3], "neurons": 3, "cores": 1} for name in "abc"],
        "readouts": {"y": [2]},
        "edges": [["x", "a"], ["a", "b"], ["b", "c"], ["a", "c"], ["c", "c"], ["c", "y"]],
    }
    found = network_drawing(values)
    root = ET.fromstring(found["svg"])
    tags = [(element.tag.rpartition("}")[2], element.get("class")) for element in root.iter()]
    assert tags.count(("path", "wire")) == tags.count(("path", "head")) == 6
    assert tags.count(("rect", "box")) == 5
    assert tags.count(("rect", "host")) == 2
    assert "a to c" in found["alt"]
    boxes = [element for element in root.iter() if element.get("class") == "box"]
    assert [float(box.get("y")) for box in boxes] == sorted(float(box.get("y")) for box in boxes)
    assert len({box.get("y") for box in boxes}) == 5


def test_a_deep_network_is_drawn_in_columns():
    names = [f"layer{k}" for k in range(28)]
    values = {
        "inputs": {"x": [4]},
        "layers": [{"name": name, "place": "chip", "shape": [3], "neurons": 3, "cores": 1} for name in names],
        "readouts": {"y": [2]},
        "edges": [
            *zip(["x", *names], [*names, "y"], strict=True),
            ("layer2", "layer4"),
            ("layer5", "layer20"),
        ],
    }
    found = network_drawing(values)
    root = ET.fromstring(found["svg"])
    places = [(e.get("x"), e.get("y")) for e in root.iter() if e.get("class") == "box"]
    assert len(set(places)) == 30
    assert len({x for x, _ in places}) == 3
    assert len({y for _, y in places}) == 10
    # no upright part of a line runs through a box, and all lines are inside the drawing
    _, _, width, height = map(float, root.get("viewBox").split())
    lefts = sorted({float(x) for x, _ in places})
    lanes = 0
    for wire in (e.get("d") for e in root.iter() if e.get("class") == "wire"):
        assert all(0 <= float(v) <= height for v in re.findall(r"V([\d.]+)", wire))
        if "H" in wire:
            lane = float(re.search(r"H([\d.]+)", wire)[1])
            assert not any(left <= lane <= left + WIDTH for left in lefts)
            assert lane < width
            lanes += 1
    assert lanes == 2 + 2  # from column to column, and past others


def test_many_layers_are_drawn_in_several_pictures(monkeypatch):
    monkeypatch.setattr(sections, "TOGETHER", 2)

    def titles(figure, alt, *_, **__):
        return [axes.get_title("left") for axes in figure.axes]

    for make, layers in (
        (sections._rates, VALUES["rates"]["layers"]),
        (sections._weights, VALUES["weights"]),
    ):
        pictures = [
            names for names in make(VALUES, titles)["pictures"] if any(name in str(names) for name in layers)
        ]
        assert len(pictures) == -(-len(layers) // 2) > 1
        assert all(name in str(pictures) for name in layers)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FRAME = """<body style="margin:0"><iframe id="f" style="border:0;width:{width}px;height:900px" srcdoc="{page}"></iframe>
<pre id="o"></pre><script>f.onload = () => {{
  const d = f.contentDocument, e = d.documentElement, s = f.contentWindow;
  o.textContent = JSON.stringify({{scroll: e.scrollWidth, client: e.clientWidth,
    dark: s.matchMedia("(prefers-color-scheme: dark)").matches, ink: s.getComputedStyle(d.body).color,
    paper: s.getComputedStyle(d.body).backgroundColor, pictures: d.querySelectorAll("figure svg").length}});
}};</script>"""


def in_browser(page, folder, width, dark):
    """What a browser makes of a page in a frame of so many pixels, and what it logs to its console."""
    wrapper = folder / "frame.html"
    wrapper.write_text(
        FRAME.format(width=width, page=html.escape(page.read_text(encoding="utf-8"))), encoding="utf-8"
    )
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"),
        *(
            f"--user-data-dir={folder / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        ),
        *("--virtual-time-budget=5000", "--dump-dom", wrapper.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(html.unescape(re.search(r'<pre id="o">([^<]*)</pre>', done.stdout)[1]))
    return found, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1200])
def test_in_a_browser(page, tmp_path, width, dark):
    found, console = in_browser(page, tmp_path, width, dark)
    assert console == []
    assert found["dark"] is dark
    assert found["scroll"] <= found["client"]
    assert found["pictures"] >= 12
    brightness = {key: sum(map(int, re.findall(r"\d+", found[key])[:3])) for key in ("ink", "paper")}
    assert (brightness["ink"] > brightness["paper"]) is dark


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_browser_test_sees_what_is_wrong(tmp_path):
    wide = tmp_path / "wide.html"
    wide.write_text(
        "<meta charset=utf-8><div style='width:800px'>x</div><script>console.error('no')</script>"
    )
    found, console = in_browser(wide, tmp_path, 390, False)
    assert found["scroll"] > found["client"]
    assert len(console) == 1
