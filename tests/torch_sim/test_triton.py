"""The Triton scans against plain torch: in Triton's interpreter, and on a GPU where there is one."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch target needs torch")
triton = pytest.importorskip("triton", reason="triton is not installed")

import snnir
from snnir.dynamics.scalar import FLOAT_OPS
from snnir.dynamics.surrogate import surrogate
from snnir.ir import Step
from snnir.targets.torch_sim.triton_kernels import fits, triton_source
from tests.fused import check_fused, fused_graph, fused_step, summands
from tests.fused import given as fused_inputs
from tests.helpers import ROOT, feed_forward, lif_step, params, recurrent, spikes
from tests.strategies import adaptive
from tests.targets import inputs, neuron_graph, scalar_steps

pytestmark = [pytest.mark.framework, pytest.mark.slow]


def family() -> list[Step]:
    """Members of the LIF family that together have every choice of every attribute."""
    found = [lif_step(), lif_step(inputs=2, exposes_v=True, refractory=2)]
    for name, choices in snnir.LifStep.CHOICES.items():
        for choice in choices:
            rules: dict[str, Any] = {name: choice}
            if name == "synapse_order":
                rules["synapse"] = "factor"
            if choice == "fixed":
                continue  # computed in float64, which runs in plain torch
            found.append(lif_step(**rules))
    return found


def same(built: Any, xs: Any, device: str = "cpu", **tolerance: float) -> None:
    """Outputs, states and gradients of both backends are equal."""
    made = []
    for backend in ("eager", "triton"):
        net = snnir.to_torch(built, backend=backend, trained="all", surrogate="atan", device=device)
        given = {k: torch.as_tensor(x, device=device).requires_grad_() for k, x in xs.items()}
        outputs, _, state = net.simulate(given)
        ends = [v for own in state.values() for v in own.values()]
        (
            sum((y * y.mean()).sum() for y in outputs.values()) + sum(v.sum() for v in ends)
        ).backward()
        grads = [p.grad for p in net.parameters()] + [x.grad for x in given.values()]
        made.append((list(outputs.values()) + ends, grads))
        runners = {type(runner).__name__ for runner in net._runners.values()}
        assert ("TritonScan" in runners) == (backend == "triton"), runners
    for want, got in zip(made[0][0], made[1][0], strict=True):
        if tolerance:
            torch.testing.assert_close(got, want, **tolerance)
        else:
            assert torch.equal(want, got)
    for want, got in zip(made[0][1], made[1][1], strict=True):
        assert (want is None) == (got is None)
        if want is not None:
            scale = float(want.abs().max()) or 1.0
            assert float((want - got).abs().max()) / scale < 1e-4


def fused(device: str) -> None:
    """Products and sums are rounded together where that is asked for, and nowhere else."""
    a, b, c = summands("float32")
    net = snnir.to_torch(fused_graph(len(a)), backend="triton", device=device)
    xs = {k: torch.as_tensor(x, device=device) for k, x in fused_inputs(a, b, c).items()}
    with torch.no_grad():
        check_fused({k: y.cpu().numpy() for k, y in net(xs).items()}, a, b, c)


def everything(device: str = "cpu") -> None:
    """Every check, on a device."""
    built = neuron_graph(family(), (3, 50))  # 150 lanes a sample: no block is full
    same(built, inputs(built, 12, 2), device)
    rng = np.random.default_rng(0)
    varied = params(beta=rng.integers(4, 15, 50).astype(np.float32) / 16, threshold=1.0)
    built = neuron_graph([Step(snnir.LifStep(), varied, "lif")], (3, 50))
    same(built, inputs(built, 9, 1), device)
    built = neuron_graph([Step(adaptive, params(beta=0.5, theta=1.0))], (200,))
    same(built, inputs(built, 9, 2), device)
    same(feed_forward(), {"input": spikes((20, 4, 3))}, device)
    same(recurrent(2), {"input": spikes((12, 4, 3))}, device)
    steps, x, y = scalar_steps()
    normal = np.isfinite(x) & np.isfinite(y) & (np.abs(x) < 1e6) & (np.abs(y) < 1e6)
    normal &= (np.abs(x) > 1e-30) & (np.abs(y) > 1e-30)  # neither tiny nor zero divisors
    for name, step in steps.items():
        if fits(step.program):
            built = neuron_graph([step], (int(normal.sum()),))
            xs = {"x": x[normal].reshape(1, 1, -1), "y": y[normal].reshape(1, 1, -1)}
            if name in ("log", "sqrt"):
                xs = {k: np.abs(v) for k, v in xs.items()}
            close = {"rtol": 1e-6, "atol": 1e-6} if name in ("exp", "log", "tanh") else {}
            same(built, xs, device, **close)
    fused(device)
    assert {name for name in FLOAT_OPS if not fits(steps[name].program)} == {"pow"}


def test_in_the_interpreter() -> None:
    script = "from tests.torch_sim.test_triton import everything; everything(); print('equal')"
    env = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], env=env, cwd=ROOT, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip().endswith("equal"), done.stderr[-3000:]


def test_the_instructions_for_a_gpu(tmp_path: Path) -> None:
    """Compiled without one: a product and a sum are one instruction only where asked for."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    file = tmp_path / "kernels.py"
    file.write_text(triton_source({"step": fused_step().program}, surrogate("atan"), True))
    spec = importlib.util.spec_from_file_location("fused_kernels", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    names = module.step_scan.arg_names
    kinds = {n: "*fp32" if re.fullmatch("[xy][0-9]", n) else "i32" for n in names}
    kinds |= {"KEEP": "constexpr", "BLOCK": "constexpr"}
    fixed = {(names.index("KEEP"),): 0, (names.index("BLOCK"),): 128}
    made = triton.compile(
        ASTSource(module.step_scan, kinds, fixed), target=GPUTarget("cuda", 90, 32),
        options={"enable_fp_fusion": False},
    )  # fmt: skip
    found = re.findall(r"\b(?:fma|mul|add)\.[a-z.]*f32", made.asm["ptx"])
    assert set(found) == {"fma.rn.f32", "mul.rn.f32", "add.rn.f32"}
    assert len({found.count(name) for name in found}) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_the_gpu() -> None:
    everything("cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_triton_is_refused_by_name() -> None:
    with pytest.raises(snnir.SnnirError, match="there is no GPU"):
        snnir.to_torch(feed_forward(), backend="triton")
