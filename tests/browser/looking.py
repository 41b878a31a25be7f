"""What an eye, or a program that reads the page aloud, stumbles over; it only looks, and changes nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from playwright.async_api import Page

AXE = next((Path(__file__).parents[1] / "vendor").glob("axe-core-*.min.js"))

# Without `preload` it asks for no style sheet anew; the size of targets is WCAG 2.2's, and off by default.
_RUN = """() => axe.run(document, {
  preload: false,
  iframes: false,
  resultTypes: ["violations"],
  rules: { "target-size": { enabled: true } },
}).then((found) => found.violations)"""

_OVERFLOW = """() => {
  const page = document.scrollingElement;
  if (page.scrollWidth <= innerWidth) return null;
  const scrolls = (node) => /auto|scroll|hidden|clip/.test(getComputedStyle(node).overflowX);
  const loose = (node) => {
    for (let up = node.parentElement; up && up !== document.body; up = up.parentElement) if (scrolls(up)) return false;
    return true;
  };
  // An element may be narrow, and the text in it wide.
  const right = (node) => {
    const box = node.getBoundingClientRect();
    return scrollX + (scrolls(node) ? box.right : Math.max(box.right, box.left + node.scrollWidth));
  };
  const over = [...document.body.querySelectorAll("*")].filter((node) => right(node) > innerWidth && loose(node));
  const inner = over.filter((node) => !over.some((other) => other !== node && node.contains(other)));
  const widest = inner.sort((one, other) => right(other) - right(one))[0];
  const shown = widest ? widest.cloneNode(false).outerHTML.slice(0, 160) : "nothing that can be named";
  return [page.scrollWidth, innerWidth, shown, widest ? Math.round(right(widest)) : 0];
}"""


async def overflow(page: Page) -> list[str]:
    """Say what makes the page wider than its window, if it is."""
    found = await page.evaluate(_OVERFLOW)
    if found is None:
        return []
    width, window, element, right = found
    return [f"the page is {width} px wide in a window of {window}: {element} ends at {right}"]


async def barriers(page: Page) -> list[str]:
    """Give what axe-core finds, a line for each element: the rule, what it wants, and why this one does not fit."""
    if not await page.evaluate("() => typeof axe === 'object'"):
        await page.evaluate(_axe())
    found = await page.evaluate(_RUN)
    return [_told(rule, node) for rule in found for node in rule["nodes"]]


def _told(rule: dict[str, Any], node: dict[str, Any]) -> str:
    why = "; ".join(line.strip() for line in str(node.get("failureSummary", "")).splitlines()[1:])
    return f"{rule['id']} ({rule['impact']}): {rule['help']}: {str(node['html'])[:160]} — {why}"


@cache
def _axe() -> str:
    return AXE.read_text(encoding="utf-8")
