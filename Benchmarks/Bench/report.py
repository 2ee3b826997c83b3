# SPDX-License-Identifier: Apache-2.0

"""report.html: one file without scripts and external resources."""

import os
from html import escape

from Bench import contenders, markup, scenarios, sections, table
from Bench.markup import cell

HERE = os.path.dirname(__file__)


def page(results, figures):
    with open(os.path.join(HERE, "report.css")) as file:
        css = file.read()
    body = [heading(results), sections.tiles(results), goals(figures), *sections.all(results)]
    body += [tables(results), others(figures), again(results)]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Benchmark of swift-qpid-proton</title>\n<style>\n{css}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def heading(results):
    machine, options = results["machine"], results["options"]
    memory = f"{machine['memory_bytes'] / (1 << 30):.1f} GiB"
    loads = [" ".join(f"{value:.2f}" for value in machine.get(key) or []) for key in ("load_before", "load_after")]
    facts = {
        "Processor": f"{machine['cpu']}, {machine['cores']} cores",
        "Memory": memory,
        "System": f"{machine['system']}, {machine['kernel']}",
        "Swift, Proton-C": f"{machine['swift']}, {machine['proton']}",
        "Version measured": machine["commit"],
        "Date": machine["date"].replace("T", " "),
        "Rounds, duration": f"{options['rounds']}, {results['seconds'] / 60:.1f} minutes",
        "Load average before, after": f"{loads[0]}; {loads[1] or '–'}",
    }
    parts = [
        "<header>\n<h1>swift-qpid-proton beside Proton in C, C++ and Python</h1>",
        "<p>Equivalent programs over loopback, with sender and receiver as separate processes. The compared programs "
        "run in turn. Bars and values are the medians of the rounds; whiskers and brackets show the "
        "least and the most.</p>",
    ]
    if options["quick"]:
        words = "<strong>A quick run.</strong> It checks that all programs work; its times have no meaning."
        parts.append(f'<p class="banner">{words}</p>')
    if not results["is_complete"]:
        parts.append('<p class="banner"><strong>The run was not completed.</strong></p>')
    rows = "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(str(value))}</dd></div>" for key, value in facts.items())
    parts.append(f'<dl class="machine">{rows}</dl>\n</header>')
    return "\n".join(parts)


def goals(figures):
    """Returns the goals and whether they are met."""
    rows = [goal(figure) for figure in figures if figure.goal is not None]
    if not rows:
        return ""
    met = sum(1 for figure in figures if figure.is_met)
    left = ("result", "figure", "beside")
    heads = ("result", "figure", "ratio", "goal", "ours", "beside", "its value")
    return markup.section(
        "Goals",
        f'<p class="score">{met} of {len(rows)} goals met</p>',
        '<p class="note">The ratio is our value to the other; for the codec, how many times faster ours is.</p>',
        markup.table([(name, "left" if name in left else "") for name in heads], rows),
    )


def goal(figure):
    """Returns a row of the table of goals."""
    has_rival = figure.rival is not None
    unit = figure.unit.replace("us", "µs")
    mark = '<span class="mark ok">✓ ok</span>' if figure.is_met else '<span class="mark short">✗ short</span>'
    name = f"{figure.scenario} {figure.name.replace('-', ' ')}"
    limit = figure.goal_text.replace(">=", "≥ ").replace("<=", "≤ ").replace("KiB", " KiB").replace("MiB", " MiB")
    cells = [
        cell(mark, "left"),
        f'<th scope="row" class="wrap">{escape(name)}</th>',
        cell(f"{figure.ratio:.2f}" if has_rival else "–"),
        cell(escape(limit)),
        cell(escape(f"{table.digits(figure.ours)} {unit}")),
        cell(escape(figure.rival_label or "–"), "left"),
        cell(escape(f"{table.digits(figure.rival)} {unit}" if has_rival else "–")),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def tables(results):
    """Returns every rate with its CPU and memory. Rows of our program are highlighted."""
    parts = []
    for scenario, cases in table.by_scenario(results).items():
        heads, rows = table.of_kind(cases)
        lines = []
        for name, label, *values in rows:
            own = ' class="own"' if label == "ours" or label.startswith("ours-") else ""
            cells = cell(escape(label), "left") + "".join(cell(escape(value)) for value in values)
            lines.append(f'<tr{own}><th scope="row">{escape(name)}</th>{cells}</tr>')
        heads = [(head, "left" if index < 2 else "") for index, head in enumerate(heads)]
        content = markup.table(heads, lines, scenario)
        parts.append(markup.folded(f"{scenario}, {len(rows)} rows", content, is_open=len(rows) < 12))
    notes = "".join(f"<li>{escape(note)}</li>" for note in results["notes"])
    if notes:
        parts.append(f"<h3>Left out</h3>\n<ul class=note>{notes}</ul>")
    if not parts:
        return ""
    words = (
        "Medians of the rounds, with least and most in brackets. CPU is user and system time: of both ends together "
        "for each message or connection, and the seconds of sender + receiver (connector + listener). Memory is the "
        "most that was resident in any round, in the same order."
    )
    return markup.section("All rates, with CPU and memory", f"<p class=note>{words}</p>", *parts)


def others(figures):
    """Returns the printed lines, for comparing runs."""
    lines = escape("\n".join(str(figure) for figure in figures))
    return markup.section("All figures", markup.folded(f"{len(figures)} lines", f"<pre>{lines}</pre>"))


def again(results):
    """Returns how to run the benchmark again, and the list of programs."""
    options = results["options"]
    command = ["./dev/bench", *(["--quick"] if options["quick"] else []), "--rounds", str(options["rounds"])]
    if options["scenarios"] != list(scenarios.SCENARIOS):
        command += ["--scenario", *options["scenarios"]]
    names = [f"<li><code>{escape(one.name)}</code>: {escape(one.title)}</li>" for one in contenders.ALL.values()]
    words = (
        "On Debian with Swift it installs missing packages and builds all programs: see <code>./dev/bench --help</code>. "
        "The programs:"
    )
    line = f"<pre>{escape(' '.join(command))}</pre>"
    return markup.section("Run it again", line, f"<p>{words}</p>", "<ul>", *names, "</ul>")
