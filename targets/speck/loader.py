"""Puts this configuration on a board, with the vendor's library; written by snnir.

    python load_samna.py            checks it with the library's own validator
    python load_samna.py --apply    writes it to the first board that is found

Needs samna. Releases from 0.9.24 on fetch the library itself from the vendor's index when they are
first imported; this script imports it, nothing else of this folder does.
"""

from __future__ import annotations

import importlib
import json
import pathlib
import sys
from typing import Any


def full(value: Any, extents: list[int]) -> Any:
    """Return nested lists of one value."""
    return [full(value, extents[1:]) for _ in range(extents[0])] if extents else value


def set_fields(target: Any, fields: dict[str, Any]) -> None:
    """Set attributes by name; x and y of pairs are set in place and the pair written back."""
    for name, value in fields.items():
        if isinstance(value, dict):
            inner = getattr(target, name)
            set_fields(inner, value)
            setattr(target, name, inner)
        else:
            setattr(target, name, value)


def set_layer(layer: Any, facts: dict[str, Any]) -> None:
    """Set one core."""
    set_fields(layer, {"dimensions": facts["dimensions"]})
    shape = facts["dimensions"]["output_shape"]
    states = [shape["feature_count"], shape["size"]["x"], shape["size"]["y"]]
    weights = [shape["feature_count"], facts["dimensions"]["input_shape"]["feature_count"]]
    weights += [facts["dimensions"]["kernel_size"]] * 2
    arrays = {"weights": weights, "biases": states[:1], "neurons_initial_value": states}
    kill = ("weights_kill_bit", "biases_kill_bit", "neurons_value_kill_bit")
    for (name, extents), bits in zip(arrays.items(), kill, strict=True):
        setattr(layer, name, full(0, extents) if facts[name] == 0 else facts[name])
        if hasattr(layer, bits):
            setattr(layer, bits, full(False, extents))
    for name, value in facts.items():
        if name not in arrays and name not in ("dimensions", "destinations"):
            setattr(layer, name, value)
    for slot, found in enumerate(facts["destinations"]):
        set_fields(layer.destinations[slot], found)


def configuration(module: Any, facts: dict[str, Any]) -> Any:
    """Return the library's configuration of a chip."""
    config = module.configuration.SpeckConfiguration()
    for core, layer in enumerate(facts["cnn_layers"]):
        if layer is not None:
            set_layer(config.cnn_layers[core], layer)
    sensor = dict(facts["dvs_layer"])
    for slot, found in enumerate(sensor.pop("destinations")):
        set_fields(config.dvs_layer.destinations[slot], found)
    set_fields(config.dvs_layer, sensor)
    if facts["readout"]["enable"]:
        set_fields(config.readout, {"enable": True})
    return config


def main() -> None:
    """Check the configuration, and write it to a board if asked to."""
    text = (pathlib.Path(__file__).parent / "config.json").read_text("utf-8")
    facts = json.loads(text)
    samna = importlib.import_module("samna")
    module = importlib.import_module(f"samna.{facts['chip']}")
    config = configuration(module, facts)
    valid, message = module.validate_configuration(config)
    print("valid" if valid else f"refused by the library: {message}")
    if not valid:
        raise SystemExit(1)
    if "--apply" in sys.argv[1:]:
        board = samna.device.open_device(samna.device.get_unopened_devices()[0])
        board.get_model().apply_configuration(config)
        print("written")


if __name__ == "__main__":
    main()
