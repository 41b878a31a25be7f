"""Kinds of values that several pages of knobs have; it knows no knob."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le

Weight = Annotated[float, Ge(0), Le(1000)]
Seconds = Annotated[float, Gt(0), Le(86_400)]
Port = Annotated[int, Ge(0), Le(65_535)]
