"""Stands for BindsNET's own `__init__`, which imports data sets and pictures and what they need."""

import sys
from importlib.machinery import PathFinder

_found = PathFinder.find_spec("bindsnet", [path for path in sys.path if "site-packages" in path])
__path__ = list((_found and _found.submodule_search_locations) or ())

import bindsnet.network  # noqa: F401  (the other modules import each other in a circle)
