"""`python -m dispatcher.bridge` runs the bridge; so does `drover bridge`."""

from __future__ import annotations

import sys

from dispatcher.bridge.app import main

if __name__ == "__main__":
    sys.exit(main())
