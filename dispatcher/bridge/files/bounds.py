"""What a file may be, for whoever tells it, and for the process that looks at files: that one knows little else of ours, so
there is no more here than numbers and names."""

from __future__ import annotations

MOST_PIXELS = 24_000_000
"""What phones take; as four bytes each they are 96 MB."""

IMAGE_TYPES = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WebP", "image/gif": "GIF"}
DOCUMENT_TYPES = ("application/pdf",)

MOST_PAGE_IMAGES = 4
"""Of a PDF without text."""
