# SPDX-License-Identifier: Apache-2.0

"""Pieces of HTML."""

from html import escape


def section(head, *parts):
    return "\n".join(["<section>", f"<h2>{escape(head)}</h2>", *parts, "</section>"])


def folded(summary, content, is_open=False):
    return f"<details{' open' if is_open else ''}><summary>{escape(summary)}</summary>\n{content}</details>"


def cell(content, kind=""):
    """Returns a table cell of markup."""
    return f'<td class="{kind}">{content}</td>' if kind else f"<td>{content}</td>"


def table(heads, rows, caption=""):
    """Returns a table that scrolls if it is too wide: heads are (name, class), rows are markup."""
    head = "".join(f'<th scope="col" class="{kind}">{escape(name)}</th>' for name, kind in heads)
    caption = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "\n".join(rows)
    return (
        f'<div class="wide" tabindex="0"><table>{caption}\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )
