"""Targets: what a graph can be emitted as."""

if __name__ != "snnir.targets":
    raise ImportError("import this package as snnir.targets")
