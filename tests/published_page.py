"""The page docs/reproduce.md, whose list of entries is written from the registry: `python tests/published_page.py`."""

from __future__ import annotations

from pathlib import Path

from interp.published.entries import Entry, entries

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reproduce.md"
MARK = "<!-- below: written by tests/published_page.py from interp/published -->\n"


def page() -> str:
    """The page as it should be: its own words, then a table and a section for each entry."""
    head = PAGE.read_text().split(MARK)[0]
    lines = ["| entry | what | images | leak-free | numbers | status |", "|---|---|---|---|---|---|"]
    for one in entries().values():
        cells = (f"[{one.name}](#{one.name})", one.title, f"{one.n} ({one.data.layout})")
        cells += (one.leak_free.split(":")[0], str(len(one.numbers)), one.status)
        lines.append(f"| {' | '.join(cells)} |")
    return head + MARK + "\n".join(lines) + "\n" + "".join(_section(one) for one in entries().values())


def _section(one: Entry) -> str:
    command = f"interp reproduce {one.name}" + (" --data DIR" if one.needs_data else "")
    command += " --head FILE" if one.command == "score" else ""
    facts = {
        "Source": one.source,
        "Status": one.status,
        "Leak-free": one.leak_free,
        "Images": f"{one.data.needs}. From: {one.data.get}. Licence: {one.data.licence}",
        "Encoder": one.steps["encoder"],
    }
    if one.command == "score":
        facts["Head"] = f"{one.steps['kind']}: {one.steps['head']}"
    said = "\n".join(f"- **{name}.** {text}" for name, text in facts.items())
    cautions = "\n".join(f"- {caution}" for caution in one.cautions)
    return f"\n### {one.name}\n\n{one.title}.\n\n    {command} --out OUT\n\n{said}\n\nBefore comparing:\n\n{cautions}\n"


if __name__ == "__main__":
    PAGE.write_text(page())
