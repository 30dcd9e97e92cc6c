"""The vendor's own JSON form of a configuration, as `samna.speck2b` reads and writes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.targets.speck.core import CoreLayer, Network, Sensor, Shape
from snnir.targets.speck.memory import unused

_MEMORY_CLOCKS = {
    "kernel": {"clockPulse": 32, "clockSetup": 16, "macroRead": 1},
    "leak": {"clockPulse": 16, "clockSetup": 32, "macroRead": 1},
    "neuron": {"clockPulse": 16, "clockSetup": 0, "macroRead": 1},
}
_SKIPS = ("enableKernelSkipMemoryCell", "enableLeakSkipMemoryCell", "enableNeuronSkipMemoryDefect")
_SCANS = ("kernelScanEn", "decoderScanEn", "leakScanEn", "neuronScanEn")
_TIMINGS = ("kernelBistReadTiming", "leakBistReadTiming", "neuronBistReadTiming")
_CURRENTS = {
    "sensorConfigTiming": 0,
    **{f"currentControlP{n}": 9 if n == 5 else 0 for n in range(3, 8)},
    **{f"currentOut{n}": 3 for n in range(1, 5)},
}


def vendor_json(net: Network) -> str:
    """Return the text for `SpeckConfiguration.from_json` of `samna.speck2b`."""
    cores = range(len(net.chip.cores))
    layers = [_layer(net.cores.get(core) or unused()) for core in cores]
    tree = {
        "cnnLayers": _listed(layers),
        "dvsLayer": _sensor(net.sensor),
        "dvsFilter": {"filterBypass": True, "threashold": 5, "filterSize": _xy(1, 1)},
        "readout": {
            "threshold": 0, "lowPassFilterDisable": False, "lowPassFilter32Not16": True,
            "inputAddressInterpretation": 0, "bypassEnable": False, "p2sInputSelection": 0,
        },
        "factoryConfig": _factory(len(cores)),
        "debugConfig": _debug(len(cores)),
    }  # fmt: skip
    return json.dumps({"value0": tree}, indent=4)


def _listed(items: Sequence[Any]) -> dict[str, Any]:
    return {f"value{index}": item for index, item in enumerate(items)}


def _xy(x: Any, y: Any) -> dict[str, Any]:
    return {"x": x, "y": y}


def _array(values: npt.NDArray[Any]) -> dict[str, Any]:
    extents = values.shape
    offsets = [int(np.prod(extents[axis + 1 :])) for axis in range(len(extents))]
    return {
        "dimensions": _listed(extents),
        "offsets": _listed(offsets),
        "values": values.reshape(-1).tolist(),
    }


def _shape(shape: Shape) -> dict[str, Any]:
    return {"featureCount": shape.channels, "size": _xy(shape.width, shape.height)}


def _layer(layer: CoreLayer) -> dict[str, Any]:
    geometry = layer.geometry
    # The vendor's axes are channels, x, y.
    weights, states = layer.weights.swapaxes(2, 3), layer.initial.swapaxes(1, 2)
    return {
        "destinations": _listed([_destination(layer, slot) for slot in range(2)]),
        "returnToZero": layer.return_to_zero,
        "leakEnable": layer.leak_enable,
        "thresholdHigh": layer.threshold_high,
        "thresholdLow": layer.threshold_low,
        "monitorEnable": layer.monitor_enable,
        "dimensions": {
            "padding": _xy(*geometry.padding[::-1]),
            "stride": _xy(*geometry.stride[::-1]),
            "kernelSize": geometry.kernel,
            "inputShape": _shape(geometry.source),
            "outputShape": _shape(geometry.target),
        },
        "weights": _array(weights),
        "weightsKillBit": _array(np.zeros(weights.shape, bool)),
        "biases": _array(layer.biases),
        "biasesKillBit": _array(np.zeros(layer.biases.shape, bool)),
        "neuronsInitialValue": _array(states),
        "neuronsValueKillBit": _array(np.zeros(states.shape, bool)),
    }


def _destination(layer: CoreLayer, slot: int) -> dict[str, Any]:
    if slot >= len(layer.destinations):
        return {"layer": 0, "enable": False, "featureShift": 0, "pooling": 1}
    found = layer.destinations[slot]
    return {
        "layer": found.layer, "enable": True, "featureShift": found.shift,
        "pooling": found.pooling,
    }  # fmt: skip


def _sensor(sensor: Sensor) -> dict[str, Any]:
    top, left = sensor.origin
    height, width = sensor.size
    down, across = sensor.pooling
    slots = [
        {"layer": core, "enable": True} for core in sensor.destinations
    ] + [{"layer": 0, "enable": False}] * (2 - len(sensor.destinations))  # fmt: skip
    return {
        "monitorSensorEnable": False,
        "monitorEnable": False,
        "destinations": _listed(slots),
        "mirrorDiagonal": sensor.swap,
        "merge": sensor.merge,
        "onChannel": sensor.on,
        "offChannel": sensor.off,
        "origin": _xy(left * across, top * down),
        "pooling": _xy(across, down),
        "cut": _xy((left + width) * across - 1, (top + height) * down - 1),
        "mirror": _xy(*sensor.mirror[::-1]),
        "passSensorEvents": sensor.enabled,
    }


def _factory(cores: int) -> dict[str, Any]:
    core = {**dict.fromkeys(_SKIPS, False), **_MEMORY_CLOCKS}
    return {
        "cnnLayers": _listed([core] * cores),
        "neurons": _listed([{"clockDelay": 4, "resetDelay": 7}] * 16),
        "outDataRequestDelay": 16,
        "monitorInputEnable": False,
        "s2pMonitorEnable": False,
        "delayHandshakeToDecoder": 6,
        "decoderDelay": 2,
        "outNumChannels": 1,
        "concatEnable": True,
        "ioPinPullDownEnable": True,
        "ioTestPinPullDownEnable": False,
        "dvs": _CURRENTS,
    }


def _debug(cores: int) -> dict[str, Any]:
    sensor = {
        "scanChainEnable": False, "testEnable": False, "sensorEnableStartup1": True,
        "sensorEnableStartup2": False, "sensorPulse": True, "sensorSelPulse": False,
        "digSensorTest": 0,
    }  # fmt: skip
    core = {**dict.fromkeys(_SCANS, False), **dict.fromkeys(_TIMINGS, 1)}
    return {
        "dvs": sensor,
        "inputInterface": {"inInterfaceScanChainEnable": False, "routerScanChainEnable": False},
        "cnnLayersConfig": _listed([core] * cores),
        "readout": {"readoutScanEn": False},
    }
