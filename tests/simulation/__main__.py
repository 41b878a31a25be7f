"""`python -m tests.simulation`: run schedules by seed or by their bytes, and print what happened."""

from __future__ import annotations

import sys

from tests.simulation.campaign import main

sys.exit(main())
