"""Pages in headless Chromium, watched and looked over; it knows no view."""

from tests.browser.keyboard import Stop, Walk, walked
from tests.browser.looking import barriers, overflow
from tests.browser.visit import HANG_S, STILL, THEMES, WIDTHS, Look, Visit, chromium, opened

__all__ = [
    "HANG_S",
    "STILL",
    "THEMES",
    "WIDTHS",
    "Look",
    "Stop",
    "Visit",
    "Walk",
    "barriers",
    "chromium",
    "opened",
    "overflow",
    "walked",
]
