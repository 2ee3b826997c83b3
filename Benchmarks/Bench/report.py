"""report.html: one file, without a script and without anything from elsewhere."""

import os
from html import escape

from Bench import contenders, scenarios, sections, table

HERE = os.path.dirname(__file__)


def page(results, figures):
    with open(os.path.join(HERE, "report.css")) as file:
        css = file.read()
    body = [heading(results), sections.tiles(results), goals(figures), *sections.all(results), tables(results), others(figures), again(results)]
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
        "<p>Programs that do the same work over loopback, sender and receiver as separate processes. Those who are "
        "compared take turns in one run. Bars and values are the medians of the rounds; whiskers and brackets show the "
        "least and the most.</p>",
    ]
    if options["quick"]:
        parts.append('<p class="banner"><strong>A quick run.</strong> It shows that everything works; its times say nothing.</p>')
    if not results["is_complete"]:
        parts.append('<p class="banner"><strong>The run was not completed.</strong></p>')
    rows = "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(str(value))}</dd></div>" for key, value in facts.items())
    parts.append(f'<dl class="machine">{rows}</dl>\n</header>')
    return "\n".join(parts)


def mark(is_met):
    return '<span class="mark ok">✓ ok</span>' if is_met else '<span class="mark short">✗ short</span>'


def goals(figures):
    """The goals, and whether they are met."""
    rows = []
    for figure in figures:
        if figure.goal is None:
            continue
        has_rival = figure.rival is not None
        unit = figure.unit.replace("us", "µs")
        ours = f"{table.digits(figure.ours)} {unit}"
        rival = f"{table.digits(figure.rival)} {unit}" if has_rival else "–"
        name = f"{figure.scenario} {figure.name.replace('-', ' ')}"
        cells = [
            f'<td class="left">{mark(figure.is_met)}</td>',
            f'<th scope="row" class="wrap">{escape(name)}</th>',
            f"<td>{figure.ratio:.2f}</td>" if has_rival else "<td>–</td>",
            f"<td>{escape(readable(figure.goal_text))}</td>",
            f"<td>{escape(ours)}</td>",
            f'<td class="left">{escape(figure.rival_label or "–")}</td>',
            f"<td>{escape(rival)}</td>",
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    if not rows:
        return ""
    met = sum(1 for figure in figures if figure.is_met)
    heads = (("result", "left"), ("figure", "left"), ("ratio", ""), ("goal", ""), ("ours", ""), ("beside", "left"), ("its value", ""))
    head = "".join(f'<th scope="col" class="{kind}">{name}</th>' for name, kind in heads)
    return (
        f'<section>\n<h2>Goals</h2>\n<p class="score">{met} of {len(rows)} goals met</p>\n'
        '<p class="note">The ratio is our value to that of the other; for the codec, how many times faster ours is.</p>\n'
        f'<div class="wide" tabindex="0"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n' + "\n".join(rows) + "\n</tbody>\n</table></div>\n</section>"
    )


def readable(goal):
    return goal.replace(">=", "≥ ").replace("<=", "≤ ").replace("KiB", " KiB").replace("MiB", " MiB")


def html_table(caption, heads, rows):
    """A table whose first two columns are words. Rows of our own program stand out."""
    head = "".join(f'<th scope="col"{" class=left" if index < 2 else ""}>{escape(name)}</th>' for index, name in enumerate(heads))
    lines = []
    for row in rows:
        own = ' class="own"' if row[1] == "ours" or row[1].startswith("ours-") else ""
        cells = "".join(f'<td{" class=left" if index == 0 else ""}>{escape(cell)}</td>' for index, cell in enumerate(row[1:]))
        lines.append(f'<tr{own}><th scope="row">{escape(row[0])}</th>{cells}</tr>')
    return (
        f'<div class="wide" tabindex="0"><table>\n<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(lines)
        + "\n</tbody>\n</table></div>"
    )


def tables(results):
    """Every rate, with CPU and memory beside it."""
    parts = []
    for scenario, cases in table.by_scenario(results).items():
        heads, rows = table.of_kind(cases)
        is_open = " open" if len(rows) < 12 else ""
        parts.append(f"<details{is_open}><summary>{escape(scenario)}, {len(rows)} rows</summary>\n{html_table(scenario, heads, rows)}</details>")
    notes = "".join(f"<li>{escape(note)}</li>" for note in results["notes"])
    if notes:
        parts.append(f"<h3>Left out</h3>\n<ul class=note>{notes}</ul>")
    if not parts:
        return ""
    words = (
        "Medians of the rounds, with least and most in brackets. CPU is user and system time: of both ends together for "
        "each message or connection, and the seconds of sender + receiver (connector + listener). Memory is the most "
        "that was resident in any round, in the same order."
    )
    return f"<section>\n<h2>All rates, with CPU and memory</h2>\n<p class=note>{words}</p>\n" + "\n".join(parts) + "\n</section>"


def others(figures):
    """What is printed line by line, for those who compare runs."""
    lines = "\n".join(str(figure) for figure in figures)
    return f"<section>\n<h2>All figures</h2>\n<details><summary>{len(figures)} lines</summary>\n<pre>{escape(lines)}</pre></details>\n</section>"


def again(results):
    """How to run it again, and what the programs are."""
    options = results["options"]
    command = ["./dev/bench", *(["--quick"] if options["quick"] else []), "--rounds", str(options["rounds"])]
    if options["scenarios"] != list(scenarios.SCENARIOS):
        command += ["--scenario", *options["scenarios"]]
    names = "".join(f"<li><code>{escape(one.name)}</code>: {escape(one.title)}</li>" for one in contenders.ALL.values())
    return (
        f"<section>\n<h2>Run it again</h2>\n<pre>{escape(' '.join(command))}</pre>\n"
        "<p>On Debian with Swift it installs and builds what it needs. <code>./dev/bench --help</code> tells the rest. "
        f"The programs:</p>\n<ul>{names}</ul>\n</section>"
    )
