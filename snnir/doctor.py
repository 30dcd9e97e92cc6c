"""What is installed here, what it enables, and how to get the rest.

Versions come from the packages' metadata, so nothing is imported. Whether torch and JAX see a
device, and on demand whether packages can be imported at all, is asked of processes of their own
with a time limit: a package that is broken, or that ends the process, is a row like another.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import metadata

from snnir.c_build import NoCompiler, compiler, cpp_compiler
from snnir.progress import counted

#: Seconds that a compiler may take to say its version, and a package to be imported.
_ANSWER, _IMPORT = 10, 120
FOUND, OTHER, BROKEN, MISSING = "found", "other version", "broken", "missing"


@dataclass(frozen=True)
class Finding:
    """One row of the survey.

    Attributes:
        name: Package, program or device.
        group: `core`, `simulators`, `frameworks`, `chips`, `tools` or `devices`.
        state: `found`, `other version` (than was verified), `broken` or `missing`.
        version: What it says of itself, or nothing.
        remark: What is wrong, or what it sees.
        enables: What it is for.
        get: How to get it.
    """

    name: str
    group: str
    state: str
    version: str = ""
    remark: str = ""
    enables: str = ""
    get: str = ""


@dataclass(frozen=True)
class Package:
    """A package of Python.

    Attributes:
        name: Of the distribution.
        group: As in `Finding`.
        enables: What it is for.
        verified: Version that the tests run with; none where every version will do.
        module: What is imported, if it is not named so.
        get: How to get it, if not by `pip install` of its name.
    """

    name: str
    group: str
    enables: str
    verified: str = ""
    module: str = ""
    get: str = ""


def _extra(name: str) -> str:
    return f"pip install 'snnir[{name}]'"


def _alone(name: str) -> str:
    """These pin old packages or need far more than their layers do: CONTRIBUTING.md."""
    return f"pip install --no-deps {name}"


PACKAGES = (
    Package("numpy", "core", "everything"),
    Package("networkx", "core", "drawing and ordering graphs"),
    Package("nir", "core", ".nir files", "1.0.8"),
    Package("h5py", "core", ".nir files"),
    Package("click", "core", "the command line"),
    Package("rich", "core", "progress bars"),
    Package("torch", "simulators", "target torch, training, torch models", "2.13.0",
            get=_extra("torch")),
    Package("safetensors", "simulators", "folders of torch and its frameworks",
            get=_extra("torch")),
    Package("triton", "simulators", "target torch on GPUs"),
    Package("jax", "simulators", "target xla, to_jax, JAX step functions", "0.10.2",
            get=_extra("jax")),
    Package("jaxlib", "simulators", "as jax", "0.10.2", get=_extra("jax")),
    Package("flatbuffers", "simulators", "export of target xla", get=_extra("jax")),
    Package("iree-base-compiler", "simulators", "compiling target mlir", "3.13.0",
            "iree.compiler", _extra("iree")),
    Package("iree-base-runtime", "simulators", "running target mlir", "3.13.0",
            "iree.runtime", _extra("iree")),
    Package("torch-mlir", "simulators", ".mlirbc files, upstream's verifier", "20261001",
            "torch_mlir", _extra("mlir")),
    Package("snntorch", "frameworks", "its models in and out", "1.0.0", get=_extra("frontends")),
    Package("nirtorch", "frameworks", "NIR of the frameworks themselves", "2.6"),
    Package("sinabs", "frameworks", "its models in and out", "3.1.3", get=_alone("sinabs==3.1.3")),
    Package("norse", "frameworks", "its models in and out", "1.1.0", get=_alone("norse==1.1.0")),
    Package("spikingjelly", "frameworks", "its models in and out", "2.0.0",
            get=_alone("spikingjelly==2.0.0")),
    Package("bindsnet", "frameworks", "its networks in, with learning", "0.3.4",
            get=_alone("bindsnet==0.3.4")),
    Package("jaxsnn", "frameworks", "its topologies in and out", "0.3.0", get=_extra("jaxsnn")),
    Package("spyx", "frameworks", "comparing with it", "1.0.0", get=_alone("spyx==1.0.0")),
    Package("xylosim", "chips", "the vendor's simulator of Xylo", "0.1.3"),
    Package("samna", "chips", "loading Speck boards (Python 3.10)", "0.7.1.0",
            get="pip install samna==0.7.1.0"),
    Package("poptorch", "chips", "target ipu on an IPU", get="Graphcore's Poplar SDK"),
    Package("hxtorch", "chips", "target bss2 on a chip", get="the EBRAINS software for BSS-2"),
    Package("ziglang", "tools", "a C compiler as a wheel, also for other processors",
            get=_extra("native")),
    Package("unicorn", "tools", "emulating microcontrollers"),
    Package("matplotlib", "tools", "snnir run --plot", get=_extra("plot")),
    Package("scikit-learn", "tools", "training the examples", module="sklearn",
            get=_extra("train")),
    Package("playwright", "tools", "checking pages in a browser"),
)  # fmt: skip

#: Programs: names to look for, what they are for, how to get them.
PROGRAMS = (
    (("qemu-system-arm", "qemu-arm"), "running C programs for other processors", "your system"),
    (("mlir-opt",), "checking target mlir by hand", "LLVM, or torch-mlir"),
    (("popc",), "compiling codelets for an IPU", "Graphcore's Poplar SDK"),
    (("chromium", "chromium-browser", "google-chrome"), "checking pages in a browser",
     "your system"),
)  # fmt: skip

#: What most people want, and the names any one of which is enough.
TASKS = {
    "compiling to C": ("C compiler",),
    "training": ("torch",),
    "target xla": ("jax",),
    "pictures": ("matplotlib",),
}

_DEVICES = {
    "torch": "import torch; n = torch.cuda.device_count();"
    "print(', '.join(torch.cuda.get_device_name(i) for i in range(n)) or 'no GPU')",
    "jax": "import jax; print(', '.join(str(device) for device in jax.devices()))",
}


def version_of(name: str) -> str:
    """Return the version of a distribution, nothing if it is not installed or says none."""
    try:
        return str(metadata.version(name))
    except Exception:  # metadata may be damaged in any way
        return ""


def versions() -> list[str]:
    """Return lines with the versions of Python and of all packages that are installed."""
    found = {group: [] for group in ("core", "")}  # type: dict[str, list[str]]
    for package in PACKAGES:
        version = version_of(package.name)
        if version:
            found["core" if package.group == "core" else ""].append(f"{package.name} {version}")
    python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    lines = [python, f"with {', '.join(found['core'])}"]
    return [*lines, f"found {', '.join(found[''])}"] if found[""] else lines


def survey(imports: bool = False) -> list[Finding]:
    """Return what is here and what is not.

    Args:
        imports: Import every package that is installed, in a process of its own. Without, torch
            and JAX are, to see their devices.
    """
    findings = [_package(item) for item in PACKAGES]
    installed = {item.name: item for item in findings if item.version}
    modules = {item.name: item.module or item.name.replace("-", "_") for item in PACKAGES}
    asked = [name for name in installed if imports or name in _DEVICES]
    answers = {}
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        jobs = pool.map(lambda name: ask(_DEVICES.get(name, f"import {modules[name]}")), asked)
        for name, answer in zip(asked, counted(jobs, "importing", len(asked)), strict=True):
            answers[name] = answer
    seen = [_imported(item, answers.get(item.name)) for item in findings]
    return [
        Finding("snnir", "core", FOUND, version_of("snnir"), _where()),
        Finding("Python", "core", FOUND, platform.python_version(), sys.executable),
        *seen, *_compilers(), *_programs(), *_devices(answers),
    ]  # fmt: skip


def missing_tasks(findings: Sequence[Finding]) -> str:
    """Return in a line what is missing for what most people want."""
    works = {item.name for item in findings if item.state in (FOUND, OTHER)}
    get = {item.name: item.get for item in findings}
    lacking = [
        f"{task} ({get.get(names[0]) or names[0]})"
        for task, names in TASKS.items()
        if not works & set(names)
    ]
    if lacking:
        return f"missing for the most common tasks: {'; '.join(lacking)}"
    return f"nothing is missing for the most common tasks: {', '.join(TASKS)}"


def ask(code: str, limit: float = _IMPORT) -> tuple[bool, str]:
    """Run Python code in a process of its own.

    Returns:
        Whether it ended well, and the last line that it printed or said.
    """
    return _output([sys.executable, "-W", "ignore", "-c", code], limit)


def _output(command: Sequence[str], limit: float) -> tuple[bool, str]:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=limit, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False, f"no answer within {limit:g} s"
    except OSError as failure:
        return False, str(failure)
    good = done.returncode == 0
    lines = (done.stdout if good else done.stderr).strip().splitlines()
    return good, (lines[-1] if lines else "" if good else f"ended with {done.returncode}")


def _package(item: Package) -> Finding:
    version = version_of(item.name)
    state, remark = (FOUND if version else MISSING), ""
    if version and item.verified and version.partition("+")[0] != item.verified:
        state, remark = OTHER, f"verified with {item.verified}"
    get = item.get or f"pip install {item.name}"
    return Finding(item.name, item.group, state, version, remark, item.enables, get)


def _imported(item: Finding, answer: tuple[bool, str] | None) -> Finding:
    if answer is None or answer[0]:
        return item
    return replace(item, state=BROKEN, remark=answer[1])


def _where() -> str:
    return os.path.dirname(os.path.abspath(__file__))


def _compilers() -> Iterator[Finding]:
    for name, find, enables in (
        ("C compiler", compiler, "target native, fast kernels of torch, events, speck and bss2"),
        ("C++ compiler", cpp_compiler, "emulating target ipu"),
    ):
        try:
            command = find()
        except NoCompiler:
            get = f"your system, or {_extra('native')}"
            yield Finding(name, "tools", MISSING, enables=enables, get=get)
            continue
        good, said = _first_line([*command, "--version"])
        yield Finding(name, "tools", FOUND if good else BROKEN, said if good else "",
                      " ".join(command) if good else said, enables)  # fmt: skip


def _first_line(command: Sequence[str]) -> tuple[bool, str]:
    """Return the first line a program prints; that is where versions stand."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_ANSWER,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as failure:
        return False, str(failure)
    lines = (done.stdout or done.stderr).strip().splitlines() or [""]
    return done.returncode == 0, lines[0]


def _programs() -> Iterator[Finding]:
    for names, enables, get in PROGRAMS:
        path = next((found for name in names if (found := shutil.which(name))), None)
        if path is None:
            yield Finding(names[0], "tools", MISSING, enables=enables, get=get)
            continue
        good, said = _first_line([path, "--version"])
        yield Finding(os.path.basename(path), "tools", FOUND if good else BROKEN,
                      said if good else "", path if good else said, enables)  # fmt: skip


def _devices(answers: dict[str, tuple[bool, str]]) -> Iterator[Finding]:
    yield Finding("processors", "devices", FOUND, str(os.cpu_count()), platform.machine())
    for name in _DEVICES:
        if name in answers and answers[name][0]:
            yield Finding(f"{name} devices", "devices", FOUND, remark=answers[name][1])
