# SPDX-License-Identifier: Apache-2.0

"""The picture of the README: the rates of all contenders, as self-contained SVG files."""

import os
import re

from Bench import plots, sections

HERE = os.path.dirname(__file__)
TITLE = "Messages a second over one link"
NAMES = {"ours": "this library", "c-proactor": "Proton C", "cpp": "Proton C++", "python": "Proton Python"}


def colours(css):
    """Returns the variables of the style sheet, for light and for dark pages."""
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    light, dark = (dict(re.findall(r"--(\w[\w-]*): (#\w+)", block)) for block in blocks)
    return {"": light, "-dark": light | dark}


def rules(css, values):
    """Returns the rules for plots with explicit colours, because an embedded picture has no variables."""
    lines = [line.replace("svg ", "") for line in css.splitlines() if line.startswith("svg ")]
    return re.sub(r"var\(--([\w-]+)\)", lambda found: values[found[1]], "\n".join(lines))


def pictures(results):
    """Returns the suffix of each file name and its text. Empty if the cases were not measured."""
    groups = []
    for case in results["cases"]:
        if case["scenario"] != "throughput":
            continue
        settlement, size, _, credit = case["name"].split("-")
        if (settlement, credit) != ("unsettled", "1000") or size == "1MiB":
            continue
        rows = [(label, found) for label, found in sections.rows(case, "messages_per_second") if label in NAMES]
        if rows:
            groups.append((f"{sections.SIZE_TEXTS[size]}, each settled", rows))
    if not groups:
        return {}
    with open(os.path.join(HERE, "report.css")) as file:
        css = file.read()
    drawn = plots.bars(TITLE, groups, "messages a second", NAMES)
    head, body = drawn.split(">", 1)
    height = 1.4 * float(re.search(r'viewBox="0 0 \d+ (\d+)"', head)[1])
    size = f'width="{1.4 * plots.WIDTH:.0f}" height="{height:.0f}"'
    head = head.replace("<svg", f'<svg xmlns="http://www.w3.org/2000/svg" {size}', 1)
    found = {}
    for end, values in colours(css).items():
        back = f'<rect width="100%" height="100%" fill="{values["card"]}"/>'
        found[end] = f"{head}><style>\n{rules(css, values)}\n</style>\n{back}{body}\n"
    return found


def save(folder, results):
    """Writes throughput.svg and throughput-dark.svg."""
    found = pictures(results)
    os.makedirs(folder, exist_ok=True)
    for end, text in found.items():
        with open(os.path.join(folder, f"throughput{end}.svg"), "w") as file:
            file.write(text)
    return bool(found)
