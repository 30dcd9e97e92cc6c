"""What the vendor's library says of configurations; runs alone, in a Python that has samna 0.7.1.0.

Reads one JSON list of requests from standard input and writes one of answers. It must not be
imported: newer releases of samna replace themselves from the vendor's index when they are.

A request is {"config": text of the vendor's JSON}, answered by {"valid", "message", "json", "words"}
(the last two as SHA-256), or {"layers": {core: fields}}, answered by {"valid", "message"}.
"""

import hashlib
import json
import os
import struct
import sys
from typing import Any

from samna import speck2b


def answer(request: Any) -> Any:
    """Return the vendor's verdict, from a child: its validator ends the process on some inputs."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            text = json.dumps(verdict(request))
        except Exception as problem:
            text = json.dumps({"valid": False, "message": f"{type(problem).__name__}: {problem}"})
        with os.fdopen(writing, "w") as pipe:
            pipe.write(text)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if text else {"valid": False, "message": f"crashed, {status}"}


def verdict(request: Any) -> Any:
    """Return what the vendor's library says."""
    config = speck2b.configuration.SpeckConfiguration()
    if "config" not in request:
        for core, fields in request["layers"].items():
            fill(config.cnn_layers[int(core)], fields)
        valid, message = speck2b.validate_configuration(config)
        return {"valid": valid, "message": message}
    config.from_json(request["config"])
    valid, message = speck2b.validate_configuration(config)
    stream = speck2b.event.speck_configuration_to_event(config)
    words = speck2b.event.encode_input_interface_events(stream)
    data = struct.pack(f"<{len(words)}I", *words)
    found = {"valid": valid, "message": message, "words": hashlib.sha256(data).hexdigest()}
    found["json"] = hashlib.sha256(config.to_json().encode()).hexdigest()
    if request.get("full"):
        found["full"] = words
    return found


def fill(layer: Any, fields: Any) -> None:
    """Set the dimensions, destinations and thresholds of a layer, and arrays of that size."""
    dimensions = layer.dimensions
    for side in ("input_shape", "output_shape"):
        channels, height, width = fields[side]
        shape = getattr(dimensions, side)
        shape.feature_count, shape.size.x, shape.size.y = channels, width, height
    size = dimensions.kernel_size = fields["kernel"]
    dimensions.stride.y, dimensions.stride.x = fields["stride"]
    dimensions.padding.y, dimensions.padding.x = fields["padding"]
    layer.dimensions = dimensions
    inputs = fields["input_shape"][0]
    outputs, height, width = fields["output_shape"]
    weights, states = [[[[0] * size] * size] * inputs] * outputs, [[[0] * height] * width] * outputs
    layer.weights, layer.biases, layer.neurons_initial_value = weights, [0] * outputs, states
    layer.weights_kill_bit = [[[[False] * size] * size] * inputs] * outputs
    layer.biases_kill_bit = [False] * outputs
    layer.neurons_value_kill_bit = [[[False] * height] * width] * outputs
    layer.threshold_high, layer.threshold_low = fields["thresholds"]
    for slot, (target, pooling, shift) in enumerate(fields["destinations"]):
        destination = layer.destinations[slot]
        destination.enable, destination.layer = True, target
        destination.pooling, destination.feature_shift = pooling, shift


if __name__ == "__main__":
    requests = json.load(sys.stdin)
    told = [answer(request) for request in requests]
    json.dump(told, sys.stdout)
