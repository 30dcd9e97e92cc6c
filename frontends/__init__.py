"""Frontends: where graphs come from."""

if __name__ != "snnir.frontends":
    raise ImportError("import this package as snnir.frontends")
