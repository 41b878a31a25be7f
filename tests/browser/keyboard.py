"""A walk through a page by Tab alone: where it comes, what is heard and seen there, and where it never comes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import CDPSession, Page

MOST_STEPS = 400
"""More stops than any view has: a page that makes new elements while one walks would never come round."""

MOST_PARTS = 8
"""Of one element, as the year, month and day of a date: Tab goes through them, and the element keeps the focus."""

# The walk's notes lie in the page, since they are about its nodes; they go when it ends.
_BEGIN = """() => {
  const KINDS = "a[href], area[href], button, input:not([type=hidden]), select, textarea, summary, iframe, audio[controls], " +
    "video[controls], [contenteditable], [tabindex]";
  const around = (node) => {
    const near = [node, node.nextElementSibling, ...(node.labels ?? [])];
    for (let up = node.parentElement; up && near.length < 7; up = up.parentElement) near.push(up);
    return near.filter((one) => one && one !== document.body);
  };
  const look = (node) => around(node).map((one) => {
    const style = getComputedStyle(one);
    const outline = style.outlineStyle === "none" ? "" : `${style.outlineWidth} ${style.outlineStyle} ${style.outlineColor}`;
    const drawn = ["boxShadow", "borderColor", "borderWidth", "backgroundColor", "textDecorationLine"].map((one) => style[one]);
    return [outline, ...drawn].join("|");
  }).join("\\n");
  const shown = (node) => node.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true });
  const modal = [...document.querySelectorAll("dialog:modal")].at(-1);
  const wanted = [...(modal ?? document).querySelectorAll(KINDS)].filter((node) =>
    node.tabIndex >= 0 && !node.matches(":disabled") && !node.closest("[inert]") && shown(node));
  document.activeElement?.blur();
  // A focused body that can't be focused any more is where a fresh page stands: before its first element.
  if (!modal) {
    const had = document.body.getAttribute("tabindex");
    document.body.tabIndex = -1;
    document.body.focus({ preventScroll: true });
    if (had === null) document.body.removeAttribute("tabindex"); else document.body.setAttribute("tabindex", had);
  }
  window.droverWalk = { wanted, look, around, plain: new Map(wanted.map((node) => [node, look(node)])), met: [] };
}"""

_HERE = """() => {
  const walk = window.droverWalk;
  const node = document.activeElement;
  if (!node || node === document.body || node === document.documentElement) return null;
  const number = walk.met.indexOf(node);
  const html = node.cloneNode(false).outerHTML.slice(0, 160);
  if (number >= 0) return { number, html, fresh: false };
  walk.met.push(node);
  // What the eye would see a moment later.
  for (const one of walk.around(node)) {
    for (const moving of one.getAnimations()) if (moving instanceof CSSTransition) moving.finish();
  }
  const faults = [];
  const labels = [...(node.labels ?? [])];
  const big = (box) => box.width >= 4 && box.height >= 4;
  const boxes = [node, ...labels].map((one) => one.getBoundingClientRect()).filter(big);
  const inside = boxes.filter((box) => box.right > 0 && box.bottom > 0 && box.left < innerWidth && box.top < innerHeight);
  const about = (hit) => hit && (node.contains(hit) || labels.some((label) => label.contains(hit))
    || hit.contains(node) && hit !== document.body && hit !== document.documentElement);
  const along = (box, part) => document.elementFromPoint(box.left + box.width * part, box.top + box.height * part);
  const solid = node.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  if (!inside.length || !solid) faults.push("cannot be seen");
  else if (!inside.some((box) => [0.5, 0.05, 0.95].some((part) => about(along(box, part))))) faults.push("lies below another");
  const style = getComputedStyle(node);
  const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
  const plain = walk.plain.get(node);
  if (plain === undefined ? !ring : plain === walk.look(node)) faults.push("does not show that it has the focus");
  return { number: walk.met.length - 1, html, faults, fresh: true };
}"""

_MISSED = """() => {
  const { wanted, met } = window.droverWalk;
  delete window.droverWalk;
  // Of radio buttons that belong together one is a stop, and arrows lead to the others.
  const sibling = (node) => node.type === "radio" && node.name
    && met.some((one) => one.type === "radio" && one.name === node.name && one.form === node.form);
  return wanted.filter((node) => node.isConnected && !met.includes(node) && !sibling(node))
    .map((node) => node.cloneNode(false).outerHTML.slice(0, 160));
}"""


@dataclass(frozen=True, slots=True)
class Stop:
    """One element that Tab leads to."""

    role: str
    name: str
    html: str
    faults: tuple[str, ...] = ()


@dataclass(slots=True)
class Walk:
    """All stops in their order, and what is wrong with the way."""

    stops: list[Stop] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """What is heard at each stop."""
        return [f"{stop.role} {stop.name}".strip() for stop in self.stops]


async def walked(page: Page) -> Walk:
    """Press Tab until it comes round. A fault is a stop that has no name, can't be seen, or looks as without the focus; an element
    that Tab should reach and never does; and a place that Tab does not lead out of."""
    walk, parts = Walk(), 0
    session = await page.context.new_cdp_session(page)
    await page.evaluate(_BEGIN)
    for step in range(MOST_STEPS):
        await page.keyboard.press("Tab")
        here = await page.evaluate(_HERE)
        if here is None and step == 0:
            continue  # nothing has the focus yet
        if here is None:
            break  # past the last one
        if here["fresh"]:
            walk.stops.append(await _heard(session, here))
            parts = 0
        elif here["number"] == len(walk.stops) - 1 and parts < MOST_PARTS:
            parts += 1
        else:
            break  # come round
    else:
        walk.faults.append(f"Tab never comes round: after {MOST_STEPS} times there are still new stops")
    await session.detach()
    missed = await page.evaluate(_MISSED)
    if missed and here is not None and here["number"] > 0:
        walk.faults.append(f"Tab does not lead out of {here['html']}")
    walk.faults += [f"Tab never leads to {html}" for html in missed]
    walk.faults += [f"{fault}: {stop.html}" for stop in walk.stops for fault in stop.faults]
    return walk


async def _heard(session: CDPSession, here: dict[str, Any]) -> Stop:
    """Ask the browser what it tells a screen reader of the element that has the focus."""
    found = await session.send("Runtime.evaluate", {"expression": "document.activeElement"})
    asked = {"objectId": found["result"]["objectId"], "fetchRelatives": False}
    [node, *_] = (await session.send("Accessibility.getPartialAXTree", asked))["nodes"]
    role, name = (str(node.get(part, {}).get("value", "")).strip() for part in ("role", "name"))
    faults = [*here["faults"], *([] if name else ["has no name"])]
    return Stop(role, name, here["html"], tuple(faults))
