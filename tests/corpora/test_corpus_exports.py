"""Published files in the torch frameworks: exported, run there, and compared spike by spike."""

from __future__ import annotations

import numpy as np
import pytest

import snnir
from tests.helpers import CORPUS, quiet_load

for module in ("torch", "snntorch", "sinabs", "spikingjelly.activation_based", "norse.torch"):
    pytest.importorskip(module)

pytestmark = [
    pytest.mark.framework,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the published files are not here"),
]
FRAMEWORKS = ("snntorch", "sinabs", "spikingjelly", "norse")
FILES = sorted(path.name for path in CORPUS.glob("*.nir") if path.name != "scnn_no_edges.nir")


@pytest.mark.parametrize("semantics", ["snntorch", "sinabs"])
@pytest.mark.parametrize("name", FILES)
def test_export(name: str, semantics: str) -> None:
    graph = quiet_load(CORPUS / name, semantics=semantics, repair=True, dt=1e-4)
    ((port, signal),) = graph.inputs.items()
    rng = np.random.default_rng(0)
    x = {port: (rng.random((30, 2, *signal.shape)) < 0.3).astype(np.float32)}
    expected = snnir.run(graph, x).output
    for framework in FRAMEWORKS:
        got = snnir.compile(graph, framework).run(x).output
        np.testing.assert_array_equal(got, expected)
