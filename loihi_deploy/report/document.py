"""A report as one page of HTML that needs nothing else: from its values, with jinja2 and matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from loihi_deploy.errors import missing_extra
from loihi_deploy.mapping.core_plan import limit_rows
from loihi_deploy.report.drawing import INK, drawn
from loihi_deploy.report.network import network_drawing
from loihi_deploy.report.sections import sections
from loihi_deploy.report.sheets import advice_of, comparison_table
from loihi_deploy.tables import percent, with_unit

Values = Mapping[str, Any]


def document(title: str, reports: Mapping[str, Values]) -> str:
    """The page: of one deployment, or of several side by side.

    Parameters
    ----------
    title : str
    reports : dict
        Values of each report, by name.

    Raises
    ------
    MissingExtraError
        If jinja2 or matplotlib is not installed.
    """
    try:
        from jinja2 import Environment
    except ImportError as error:
        raise missing_extra("jinja2", "A report as HTML", "report") from error
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (Path(__file__).parent / "template.html.j2").read_text(encoding="utf-8")
    )
    several = len(reports) > 1
    with drawn(INK):
        parts = [
            _part(name if several else "", values, k) for k, (name, values) in enumerate(reports.items())
        ]
    comparison = comparison_table(reports).as_html() if several else ""
    first = next(iter(reports.values()))
    page: str = template.render(title=title, subtitle=first["command"], comparison=comparison, parts=parts)
    return page


def _part(name: str, values: Values, number: int) -> dict[str, Any]:
    return {
        "name": name,
        "cards": list(_cards(values)),
        "advice": advice_of(values),
        "network": network_drawing(values),
        "sections": sections(values, str(number)),
    }


def _cards(values: Values) -> Iterator[dict[str, Any]]:
    mapping = values["mapping"]
    exceeded = any(row["exceeded"] for row in limit_rows(mapping))
    fits = f"{values['n_chips']} of {values['n_board_chips']} chips"
    yield _card("does it fit?", "no" if exceeded else "yes", f"{fits} of {values['board']}", exceeded)
    yield _card("cores", f"{values['n_cores']:,}", f"any plan needs {mapping['bound']:,}")
    if "accuracy" in values:
        found = values["accuracy"]
        against = f", rate network {percent(found['rate_network'])}" if "rate_network" in found else ""
        yield _card("accuracy", percent(found["value"]), f"{found['n_total']:,} {found['counted']}{against}")
    if "energy" in values:
        joules, seconds = values["energy"]["joules"]["total"], values["energy"]["seconds"]["sample"]
        yield _card(
            "energy a sample",
            with_unit(joules["value"], "J"),
            f"{with_unit(joules['low'], 'J')} to {with_unit(joules['high'], 'J')}",
        )
        yield _card(
            "time a sample",
            with_unit(seconds["value"], "s"),
            f"{values['data']['steps']} steps, {with_unit(seconds['low'], 's')} to {with_unit(seconds['high'], 's')}",
        )
    n = len(values["warnings"])
    yield _card(
        "warning" if n == 1 else "warnings", str(n), "see the end of the page" if n else "none", n > 0
    )


def _card(name: str, value: str, note: str, bad: bool = False) -> dict[str, Any]:
    return {"name": name, "value": value, "note": note, "bad": bad}
