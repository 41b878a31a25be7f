"""What people see in a browser: a shell for each view, its files, and the description of the API; no answer comes from here."""

from dispatcher.bridge.pages.assets import Assets, mount_files
from dispatcher.bridge.pages.routes import pages

__all__ = ["Assets", "mount_files", "pages"]
