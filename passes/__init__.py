"""Passes: pure functions from graph to graph, one module each."""

if __name__ != "snnir.passes":
    raise ImportError("import this package as snnir.passes")
