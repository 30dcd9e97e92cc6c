"""Pages of the site that are not files of this folder, and its links; used by `docs/hooks.py`."""
