"""Kinds of values that several pages of knobs have; it knows no knob."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le
from pydantic import AllowInfNan

Finite = Annotated[float, AllowInfNan(allow_inf_nan=False)]
Weight = Annotated[Finite, Ge(0), Le(1000)]
Seconds = Annotated[Finite, Gt(0), Le(86_400)]
Port = Annotated[int, Ge(0), Le(65_535)]
