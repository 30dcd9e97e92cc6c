"""Train a Yin-Yang classifier by spike times alone: exact gradients, no steps, no surrogates.

    python examples/yinyang_events/train.py --train     # yinyang_events.snnir, one or two minutes
    python examples/yinyang_events/train.py --check     # its accuracy, and that of discretisations

The task is that of `examples/yinyang`: a point lies in the yin, the yang or the dots of the sign.
Its coordinates x, y, 1 - x, 1 - y become one spike each, the later the larger; a fifth spike comes
at a fixed time. 120 hidden neurons and 3 outputs fire; the class is the output that fires first.
The loss is the cross entropy of times, softmax(-t / SHARP) (Göltz et al., Nature Machine
Intelligence 2021), and its gradient by the weights is that of `snnir.to_jax`.

A neuron that does not fire has no gradient: weights of hidden neurons that are silent in most
samples are raised a little, and those of outputs that should have fired and did not.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

sys.path.append(str(Path(__file__).resolve().parents[2]))  # for what examples share

import snnir
from examples.command_line import finish, positive, seed
from examples.yinyang.train import TEST, TEST_SEED, TRAIN, TRAIN_SEED, points
from snnir.events import Events
from snnir.ir import FrozenDict, Graph, Input, Linear, Neuron, Node, Op, Value
from snnir.progress import counted

if TYPE_CHECKING:
    import jax

Array = npt.NDArray[Any]
Params = dict[str, Any]

MODEL = Path(__file__).parent / "yinyang_events.snnir"

#: Seconds.
TAU_MEM, TAU_SYN, DT = 10e-3, 5e-3, 1e-4
EARLY, LATE, BIAS_AT, DURATION = 0.0, 20e-3, 8e-3, 30e-3
#: Steps of the refractory time, as long as a sample: a neuron fires once.
ONCE = 300
HIDDEN, CLASSES = 120, 3
BATCH, EPOCHS, RATE, SEED = 100, 24, 2e-3, 1
#: Difference of times that counts, in seconds; silent outputs count as firing at the end.
SHARP = 1e-3
#: Weight of the right output's time, in membrane time constants, in the loss: it must not be late,
#: where a little later is never.
EARLIER = 0.3
#: Largest |dt/dv| in seconds per unit of v: a membrane that just reaches the threshold must not
#: decide on the whole step.
CLIP = 0.03


# --- The network ---------------------------------------------------------------------------------


def encode(coordinates: Array) -> Array:
    """Return times [B, 5] in seconds of coordinates [B, 4], which are between 0 and 1."""
    times = EARLY + coordinates * (LATE - EARLY)
    return np.concatenate([times, np.full((len(times), 1), BIAS_AT)], axis=1)


def neurons() -> Neuron:
    """Return neurons in which a spike of weight 1 lifts v by a quarter at most.

    Their steps, if they are discretised, are exact for spikes that come at the start of a step.
    """
    values = {"tau_mem": TAU_MEM, "tau_syn": TAU_SYN, "r": 1.0, "v_leak": 0.0}
    values |= {"v_threshold": 0.25, "v_reset": 0.0}
    params = FrozenDict({name: snnir.tensor(np.float64(v)) for name, v in values.items()})
    stepping = snnir.Stepping(integrator="exact", synapse_jump=True, refractory=ONCE)
    return Neuron("cubalif", params, stepping)


def network(hidden: Array, output: Array) -> Graph:
    """Return the network; both layers are outputs of the graph.

    Args:
        hidden: Weights [120, 5].
        output: Weights [3, 120].
    """
    nodes: dict[str, tuple[Op, str]] = {
        "input": (Input(snnir.Signal(snnir.Kind.SPIKES, (hidden.shape[1],))), ""),
        "fc1": (Linear(snnir.tensor(hidden.astype(np.float32))), "input"),
        "hidden": (neurons(), "fc1"),
        "fc2": (Linear(snnir.tensor(output.astype(np.float32))), "hidden"),
        "classes": (neurons(), "fc2"),
    }
    built = {
        name: Node(name, op, (Value(source),) if source else ())
        for name, (op, source) in nodes.items()
    }
    outputs = {"classes": Value("classes"), "hidden": Value("hidden")}
    return Graph(built, outputs, name="yinyang_events", dt=DT).verify()


def untrained(seed: int = SEED) -> Graph:
    """Return the network with random weights, with which most neurons fire."""
    rng = np.random.default_rng(seed)
    return network(rng.normal(0.6, 0.6, (HIDDEN, 5)), rng.normal(0.03, 0.1, (CLASSES, HIDDEN)))


# --- Training ------------------------------------------------------------------------------------


def loss_of(f: Any, params: Params, times: Any, labels: Any) -> Any:
    """Return the loss, and how often every hidden neuron and each output was silent."""
    import jax.numpy as jnp

    first = f.first_spikes(params, times)
    there = jnp.minimum(first["classes"], DURATION)
    scores = -there / SHARP
    top = scores.max(axis=1, keepdims=True)
    logs = scores - top - jnp.log(jnp.exp(scores - top).sum(axis=1, keepdims=True))
    right = jnp.take_along_axis(logs, labels[:, None], axis=1)
    silent = jnp.isinf(first["hidden"]).mean(axis=0)
    missed = jnp.isinf(first["classes"]) & (jnp.arange(CLASSES) == labels[:, None])
    hits = (there.argmin(axis=1) == labels).mean()
    early = jnp.take_along_axis(there, labels[:, None], axis=1) / TAU_MEM
    return (EARLIER * early - right).mean(), (silent, missed.mean(axis=0), hits)


def stepper(f: Any, rate: float) -> Any:
    """Return a function that takes a step of Adam: (params, moments, times, labels, step, share).

    `share` is the part of the learning rate that is used.
    """
    import jax
    import jax.numpy as jnp

    def step(
        params: Params, moments: Any, times: Any, labels: Any, number: Any, share: Any
    ) -> tuple[Params, Any, jax.Array]:
        grow = jax.value_and_grad(loss_of, 1, has_aux=True)
        (_, (silent, missed, hits)), gradient = grow(f, params, times, labels)
        push = {"fc1.weight": (silent > 0.8)[:, None] * 1.0, "fc2.weight": missed[:, None] * 30.0}
        new, kept = {}, {}
        for path, value in params.items():
            g = gradient[path]
            first, second = moments[path]
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
            kept[path] = first, second
            towards = first / (1 - 0.9**number)
            size = jnp.sqrt(second / (1 - 0.999**number)) + 1e-8
            new[path] = value - share * rate * (towards / size - push[path])
        return new, kept, hits

    return jax.jit(step)


def train(graph: Graph, epochs: int = EPOCHS, samples: int = TRAIN, rate: float = RATE) -> Graph:
    """Return the graph with the weights of the epoch that told most training samples rightly.

    Args:
        graph: The network.
        epochs: How often it sees the training set.
        samples: Size of the training set.
        rate: Of Adam; falls to 0 with half a cosine.
    """
    import jax.numpy as jnp

    coordinates, labels = points(samples, TRAIN_SEED)
    times = encode(coordinates)
    f = snnir.to_jax(graph, duration=DURATION, clip=CLIP)
    params = f.params
    moments = {path: (jnp.zeros_like(v), jnp.zeros_like(v)) for path, v in params.items()}
    step, rng, number = stepper(f, rate), np.random.default_rng(SEED), 0
    started, total = time.perf_counter(), epochs * (samples // BATCH)
    best, kept = 0.0, params
    for epoch in counted(range(epochs), "training"):
        hits = []
        for batch in rng.permutation(samples)[: samples // BATCH * BATCH].reshape(-1, BATCH):
            number += 1
            share = 0.5 + 0.5 * np.cos(np.pi * number / total)
            params, moments, hit = step(params, moments, times[batch], labels[batch], number, share)
            hits.append(float(hit))
        if np.mean(hits) >= best:
            best, kept = float(np.mean(hits)), params
        seconds = time.perf_counter() - started
        print(f"  epoch {epoch + 1}: {np.mean(hits):.1%} ({seconds:.0f} s)", flush=True)
    trained: Graph = f.trained(kept)
    return trained


# --- Measuring -----------------------------------------------------------------------------------


def events(samples: int = TEST) -> tuple[Events, Array]:
    """Return the test set as events, and its classes."""
    coordinates, labels = points(samples, TEST_SEED)
    times = encode(coordinates)
    sample, channel = np.indices(times.shape)
    return Events(times.reshape(-1), channel.reshape(-1), sample.reshape(-1)), labels


def first_class(spikes: Events, samples: int) -> Array:
    """Return the output that fires first in every sample, 0 if none does."""
    first = np.full((samples, CLASSES), np.inf)
    np.minimum.at(first, (spikes.sample, spikes.index), spikes.time)
    found: Array = first.argmin(axis=1)
    return found


def check(graph: Graph) -> None:
    """Print how good a network is in continuous time and in steps, and how far these are apart."""
    given, labels = events()
    target: Any = snnir.compile(graph, "events", threads=2)
    exact = target.run(given, duration=DURATION, samples=TEST)
    share = (first_class(exact.events["classes"], TEST) == labels).mean()
    print(f"{graph.name}: {share:.1%} of {TEST} points in continuous time")
    for dt in (1e-3, 1e-4):
        stepped = restepped(graph, given, TEST, dt)
        share = (first_class(stepped, TEST) == labels).mean()
        found = snnir.diff(graph, given, against="events", dt=dt, duration=DURATION)
        print(f"  in steps of {dt:g} s: {share:.1%}")
        for node in found.nodes:
            print(
                f"    {node.node}: of {node.continuous} spikes {node.same_step} in the same step, "
                f"{node.missing} missing, {node.extra} extra, mean error {node.mean_error:.2g} s"
            )


def restepped(graph: Graph, given: Events, samples: int, dt: float) -> Events:
    """Return when outputs fire if the network is run in steps."""
    stepped = graph.edit().graph(dt=dt)
    x = given.on_grid(round(DURATION / dt), samples, stepped.inputs["input"].shape, dt)
    run = snnir.compile(stepped, "numpy").run(x, record=["classes"])
    return Events.of_grid(run.recorded["classes"], dt)


def main() -> None:
    """Train, or check what is there."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--train", action="store_true", help="train and write the model")
    parser.add_argument("--check", action="store_true", help="measure the committed model")
    parser.add_argument("--epochs", type=positive, default=EPOCHS)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--seed", type=seed, default=SEED)
    arguments = parser.parse_args()
    if arguments.train:
        trained = train(untrained(arguments.seed), arguments.epochs, rate=arguments.rate)
        check(trained)
        snnir.save(trained, MODEL)
    if arguments.check or not arguments.train:
        check(snnir.load(MODEL))


if __name__ == "__main__":
    finish(main)
