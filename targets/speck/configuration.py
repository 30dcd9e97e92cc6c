"""`config.json`: a configuration with the vendor's field names, one core a paragraph."""

from __future__ import annotations

import json
from typing import Any

from snnir.targets.speck.core import CoreLayer, Network, Sensor, Shape

FORMAT = 1


def config_text(net: Network) -> str:
    """Return the text of `config.json`."""
    cores = range(len(net.chip.cores))
    facts = {
        "format": FORMAT,
        "chip": net.chip.name,
        "cut_after_pooling": net.chip.cut_after_pooling,
        "dvs_layer": sensor_facts(net.sensor, net.chip.cut_after_pooling),
        "readout": {"enable": net.readout},
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items()]
    layers = [layer_facts(net.cores[core]) if core in net.cores else None for core in cores]
    rows = ",\n".join(json.dumps(row) for row in layers)
    lines.append(f'"cnn_layers": [\n{rows}\n]')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _xy(pair: tuple[Any, Any]) -> dict[str, Any]:
    return {"x": pair[1], "y": pair[0]}


def _shape(shape: Shape) -> dict[str, Any]:
    return {"feature_count": shape.channels, "size": {"x": shape.width, "y": shape.height}}


def layer_facts(layer: CoreLayer) -> dict[str, Any]:
    """Return a core's configuration; arrays have the vendor's axes, channels, x, y.

    States that are all 0 are written as a single 0.
    """
    geometry = layer.geometry
    states = layer.initial.swapaxes(1, 2)
    return {
        "dimensions": {
            "input_shape": _shape(geometry.source),
            "output_shape": _shape(geometry.target),
            "kernel_size": geometry.kernel,
            "stride": _xy(geometry.stride),
            "padding": _xy(geometry.padding),
        },
        "destinations": [
            {
                "enable": True, "layer": found.layer, "pooling": found.pooling,
                "feature_shift": found.shift,
            }
            for found in layer.destinations
        ],
        "threshold_high": layer.threshold_high,
        "threshold_low": layer.threshold_low,
        "return_to_zero": layer.return_to_zero,
        "leak_enable": layer.leak_enable,
        "monitor_enable": layer.monitor_enable,
        "biases": layer.biases.tolist(),
        "neurons_initial_value": states.tolist() if states.any() else 0,
        "weights": layer.weights.swapaxes(2, 3).tolist(),
    }  # fmt: skip


def sensor_facts(sensor: Sensor, cut_after_pooling: bool) -> dict[str, Any]:
    """Return the configuration of the sensor's block."""
    down, across = (1, 1) if cut_after_pooling else sensor.pooling
    (top, left), (height, width) = sensor.origin, sensor.size
    return {
        "destinations": [{"enable": True, "layer": core} for core in sensor.destinations],
        "pooling": _xy(sensor.pooling),
        "origin": _xy((top * down, left * across)),
        "cut": _xy(((top + height) * down - 1, (left + width) * across - 1)),
        "mirror": _xy(sensor.mirror),
        "mirror_diagonal": sensor.swap,
        "merge": sensor.merge,
        "on_channel": sensor.on,
        "off_channel": sensor.off,
        "pass_sensor_events": sensor.enabled,
    }
