"""Verdicts, JSON and memory words against the vendor's own library, live or as it once said.

python -m tests.speck.test_vendor     asks the library again and writes vendor.json
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import snnir
from snnir.targets.speck.core import Destination, Network, Shape, network_faults
from snnir.targets.speck.memory import words
from snnir.targets.speck.vendor_json import vendor_json
from tests.helpers import CORPUS, ROOT, quiet_load
from tests.speck.nets import CHIP, branching, layer, network, random_fields

HERE = Path(__file__).parent
STORED = HERE / "vendor.json"
LAYERS, NETWORKS, SEED = 1000, 24, 7
CHUNK = 50


def library() -> Path | None:
    """Return a Python that has samna 0.7.1.0: `x.py test` makes one."""
    given = os.environ.get("SNNIR_SAMNA_PYTHON")
    found = Path(given) if given else ROOT / ".venv" / "samna" / "bin" / "python"
    return found if found.exists() else None


def ask(requests: list[Any]) -> list[dict[str, Any]]:
    """Return what the library says."""
    python = library()
    if python is None:
        pytest.skip("samna 0.7.1.0 is not there (it needs Python 3.10)")
    told: list[dict[str, Any]] = []
    for start in range(0, len(requests), CHUNK):
        text = json.dumps(requests[start : start + CHUNK])
        command = [str(python), str(HERE / "oracle.py")]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
        told += json.loads(done.stdout[done.stdout.index("[{") :])
    return told


def layers() -> list[tuple[dict[int, dict[str, Any]], Network]]:
    rng = random.Random(SEED)
    return [random_fields(rng) for _ in range(LAYERS)]


def networks() -> list[Network]:
    return [*map(network, range(NETWORKS)), *map(branching, range(NETWORKS // 4))]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digests(net: Network) -> dict[str, str]:
    """Return what we make of a network."""
    return {
        "words": sha(words(net).astype("<u4").tobytes()),
        "json": sha(vendor_json(net).encode()),
    }


def stored() -> Any:
    return json.loads(STORED.read_text("utf-8"))


def our_verdicts() -> str:
    return "".join("01"[not list(network_faults(net))] for _, net in layers())


def test_a_thousand_layers_fit_or_not_as_the_vendor_says() -> None:
    ours = our_verdicts()
    assert ours == stored()["verdicts"]
    assert 100 < ours.count("1") < LAYERS - 100


def test_words_and_json_are_those_of_the_vendor() -> None:
    assert [digests(net) for net in networks()] == stored()["networks"]


def test_channels_that_two_cores_feed_are_refused_as_the_vendor_does() -> None:
    one, two = Shape(1, 4, 4), Shape(2, 4, 4)
    rng = random.Random(0)
    cores = {
        0: layer(rng, one, two, 1, destinations=(Destination(2),)),
        1: layer(rng, one, two, 1, destinations=(Destination(2),)),
        2: layer(rng, two, one, 1),
    }
    assert "fed by 0..1, 0..1, not once each" in " ".join(network_faults(Network(CHIP, cores)))
    (told,) = ask([{"config": vendor_json(Network(CHIP, cores))}])
    assert not told["valid"]
    apart = {**cores, 2: layer(rng, Shape(4, 4, 4), one, 1)}
    apart[1] = replace(apart[1], destinations=(Destination(2, 1, 2),))
    assert list(network_faults(Network(CHIP, apart))) == []
    (told,) = ask([{"config": vendor_json(Network(CHIP, apart))}])
    assert told["valid"], told["message"]


@pytest.mark.slow
def test_the_library_still_says_so() -> None:
    told = ask([{"layers": fields} for fields, _ in layers()])
    assert "".join("01"[found["valid"]] for found in told) == stored()["verdicts"]


@pytest.mark.slow
def test_the_library_still_writes_so() -> None:
    told = ask([{"config": vendor_json(net)} for net in networks()])
    assert [{key: found[key] for key in ("words", "json")} for found in told] == stored()[
        "networks"
    ]
    assert all(found["valid"] for found in told), [found["message"] for found in told]


def published() -> Any:
    """Return the published N-MNIST model for the chip that the library knows."""
    graph = quiet_load(CORPUS / "nmnist_cnn_sinabs.nir", semantics="sinabs")
    return snnir.compile(graph, "speck", chip="speck2b")


@pytest.mark.usefixtures("corpus")
def test_a_published_model_is_written_as_the_vendor_did() -> None:
    assert digests(published().plan.network) == stored()["published"]


@pytest.mark.usefixtures("corpus")
def test_a_published_model_is_written_as_the_vendor_does() -> None:
    built = published()
    net = built.plan.network
    (told,) = ask([{"config": built.files["samna_speck2b.json"].decode()}])
    assert told["valid"], told["message"]
    assert told["words"] == sha(built.files["memory.bin"]) == digests(net)["words"]
    assert told["json"] == digests(net)["json"]


def test_the_loader_makes_the_configuration_the_vendor_accepts(tmp_path: Path) -> None:
    python = library()
    if python is None:
        pytest.skip("samna 0.7.1.0 is not there (it needs Python 3.10)")
    graph = snnir.load(ROOT / "examples" / "speck" / "digits_conv.nir")
    folder = snnir.compile(graph, "speck", chip="speck2b").save(tmp_path / "out")
    script = f"""
import json, pathlib, runpy, sys
sys.argv = ["load_samna.py"]
made = runpy.run_path({str(folder / "load_samna.py")!r})
from samna import speck2b
facts = json.loads(pathlib.Path({str(folder / "config.json")!r}).read_text())
config = made["configuration"](speck2b, facts)
print(speck2b.validate_configuration(config)[0])
print(config.to_json() == pathlib.Path({str(folder / "samna_speck2b.json")!r}).read_text())
"""
    done = subprocess.run([str(python), "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["True", "True"]


def main() -> None:
    """Ask the library again, and write what it says."""
    told = ask([{"layers": fields} for fields, _ in layers()])
    verdicts = "".join("01"[found["valid"]] for found in told)
    nets = [*networks(), published().plan.network]
    written = ask([{"config": vendor_json(net)} for net in nets])
    *kept, last = [{key: found[key] for key in ("words", "json")} for found in written]
    facts = {"verdicts": verdicts, "networks": kept, "published": last}
    STORED.write_text(json.dumps(facts, indent=1) + "\n")
    ours = our_verdicts()
    wrong = [i for i, (a, b) in enumerate(zip(ours, verdicts, strict=True)) if a != b]
    for index in wrong[:10]:
        fields, net = layers()[index]
        print(index, fields, list(network_faults(net)), told[index]["message"])
    print(f"{len(wrong)} of {LAYERS} verdicts differ, {verdicts.count('1')} fit")
    print([found["message"] for found in written if not found["valid"]])
    print(
        sum(digests(net) != k for net, k in zip(networks(), kept, strict=True)), "networks differ"
    )


if __name__ == "__main__":
    main()
