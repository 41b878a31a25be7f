"""Draw the page's icons as browsers install them, from the shapes of `ui/icon.svg`: python deploy/icons.py"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

ICONS = Path(__file__).parents[1] / "dispatcher/bridge/ui/icons"

FIELD = 32
"""The side of the SVG's own field."""

FINER = 4
"""Drawn so much larger, and made smaller, for smooth edges."""

SAFE = 0.72
"""Of a maskable icon the middle 80 % are shown for sure (W3C Web Application Manifest, purpose `maskable`)."""

GROUND, INK = "#0d6e64", "#ffffff"
DOTS = ((21.5, 9.5, "#f6c667"), (23.5, 16.0, INK), (21.5, 22.5, "#9fe3d8"))
DOT_RADIUS, STROKE, CORNER = 2.4, 2.4, 8.0
MARK = ((9.0, 11.5), (15.2, 16.0), (9.0, 20.5))


def drawn(pixels: int, *, maskable: bool) -> Image.Image:
    """Draw the icon; a maskable one fills its square, and keeps what counts away from its edges."""
    side = pixels * FINER
    scale = side / FIELD * (SAFE if maskable else 1)
    shift = side / 2 - FIELD / 2 * scale
    image = Image.new("RGBA", (side, side), GROUND if maskable else (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)
    if not maskable:
        pen.rounded_rectangle((0, 0, side - 1, side - 1), CORNER * scale, GROUND)

    def dot(x: float, y: float, radius: float, colour: str) -> None:
        box = (x - radius, y - radius, x + radius, y + radius)
        pen.ellipse([shift + one * scale for one in box], colour)

    pen.line([(shift + x * scale, shift + y * scale) for x, y in MARK], INK, round(STROKE * scale), joint="curve")
    for x, y in MARK:
        dot(x, y, STROKE / 2, INK)
    for x, y, colour in DOTS:
        dot(x, y, DOT_RADIUS, colour)
    return image.resize((pixels, pixels), Image.Resampling.LANCZOS)


def main() -> None:
    ICONS.mkdir(exist_ok=True)
    for name, pixels, maskable in (("192", 192, False), ("512", 512, False), ("maskable", 512, True)):
        drawn(pixels, maskable=maskable).save(ICONS / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
