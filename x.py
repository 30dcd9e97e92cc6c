#!/usr/bin/env python3
"""Set up the project and run one of its jobs: `python3 x.py --help`.

Standard library only. The first call of a job makes `.venv` beside this file and installs what
the job needs; later calls see from a stamp in `.venv` that nothing has changed and start at once.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, NamedTuple, NoReturn

OLDEST, NEWEST = (3, 10), (3, 13)


def version_problem(version: "tuple[int, int]") -> str:
    """Return why this version of Python cannot be used, or nothing; runs on older Pythons too."""
    if OLDEST <= version <= NEWEST:
        return ""
    names = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    found = [name for name in names if shutil.which(name)]
    return (
        "x.py: snnir needs Python {}.{} to {}.{}, this is {}.{}.\n"
        "      Call it with such a Python, for example: {} x.py".format(
            *OLDEST, *NEWEST, *version, (found or names)[0]
        )
    )


if version_problem(sys.version_info[:2]):
    sys.exit(version_problem(sys.version_info[:2]))

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
MARKER = VENV / ".x-venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


class Stage(NamedTuple):
    """A set of packages that is installed together.

    Attributes:
        name: Names the stamp.
        needs: What to tell the user is being installed.
        installs: Arguments of `pip install`, one call each.
        includes: Stages that are complete as well once this one is.
    """

    name: str
    needs: str
    installs: tuple[tuple[str, ...], ...]
    includes: tuple[str, ...] = ()


CORE = Stage("core", "snnir", (("-e", f"{ROOT}[plot]"),))
TEST = Stage(
    "test", "snnir and its test tools", (("-e", f"{ROOT}[plot,test,dev]"),), includes=("core",)
)
RELEASE = Stage("release", "what checks a release", (("-e", f"{ROOT}[release]"),))
DOCS = Stage("docs", "what builds the documentation", (("-e", f"{ROOT}[docs]"),))
BROWSER = Stage("browser", "what drives a browser", (("-e", f"{ROOT}[browser]"),))
NOTEBOOKS = Stage("notebooks", "what executes notebooks", (("-e", f"{ROOT}[notebooks]"),))
# torch comes first, so that no other package chooses one; sinabs and norse pin an old nir.
TORCH = Stage("torch", "torch", (("torch==2.13.0",),))
FRAMEWORKS = (
    Stage(
        "jax",
        "JAX",
        (("jax==0.10.2; python_version>='3.11'", "jax; python_version<'3.11'", "flatbuffers"),),
    ),
    Stage(
        "jaxsnn",
        "jaxsnn",
        (("optax", "tree-math", "networkx", "scipy", "matplotlib"), ("--no-deps", "jaxsnn==0.3.0")),
    ),
    # Spyx pins an old JAX, and its data sets need more packages than its layers.
    Stage(
        "spyx",
        "Spyx",
        (
            ("flax", "optax", "absl-py", "etils", "cloudpickle", "portpicker"),
            ("--no-deps", "spyx==1.0.0", "grain", "array_record"),
        ),
    ),
    # 290 MB; its interpreter runs the kernels for GPUs where there is none.
    Stage("triton", "Triton", (("--no-deps", "triton>=3; sys_platform == 'linux'"),)),
    Stage(
        "snntorch",
        "snnTorch and NIRTorch",
        (("numpy<3", "nir==1.0.8", "nirtorch==2.6", "snntorch==1.0.0"),),
    ),
    Stage("sinabs", "Sinabs", (("pbr", "matplotlib"), ("--no-deps", "sinabs==3.1.3"))),
    Stage(
        "devices",
        "a cross compiler and an emulator of small processors",
        (("ziglang>=0.13", "unicorn>=2.1", "pyelftools"),),
    ),
    # Upstream MLIR's bindings, without torch, and a second verifier; 700 MB installed.
    Stage(
        "mlir",
        "MLIR",
        (("torch-mlir==20261001", "iree-base-compiler==3.13.0", "iree-base-runtime==3.13.0"),),
    ),
    # Builds from source where there is no wheel, with a C++ compiler.
    Stage("xylosim", "SynSense's simulator of Xylo", (("xylosim==0.1.3",),)),
    Stage("norse", "Norse", (("--no-deps", "norse==1.1.0"),)),
    # Its networks need torch alone; the rest of it asks for newer torch and much more.
    Stage("bindsnet", "BindsNET", (("--no-deps", "bindsnet==0.3.4"),)),
    Stage(
        "spikingjelly",
        "SpikingJelly",
        (
            ("loguru", "tqdm", "requests", "packaging", "scipy"),
            ("--no-deps", "spikingjelly==2.0.0"),
        ),
    ),
)

# The last release of samna that is on the package index itself; newer ones fetch themselves from
# the vendor's when they are imported. Its wheels end with Python 3.10.
SAMNA = "samna==0.7.1.0"
ORACLE = VENV / "samna"


# --- Output --------------------------------------------------------------------------------------


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"x.py: {text}", file=sys.stderr, flush=True)


def fail(text: str) -> NoReturn:
    """End with a message and exit code 1."""
    say(text)
    sys.exit(1)


# --- The environment -----------------------------------------------------------------------------


def base_python() -> str:
    """Return the interpreter that environments are made from, also when called inside one."""
    return str(getattr(sys, "_base_executable", "") or sys.executable)


def venv_identity() -> str:
    """Describe the environment that belongs to this folder and this Python."""
    return f"{ROOT}\n{sys.version}\n"


def venv_works() -> bool:
    """Whether the environment's interpreter, and the one it was made from, are still there."""
    try:
        lines = (VENV / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    settings = dict(line.split(" = ", 1) for line in lines if " = " in line)
    return PYTHON.exists() and Path(settings.get("home", "")).is_dir()


def venv_is_current() -> bool:
    """Whether the environment works and belongs here; one the user made counts as theirs."""
    return venv_works() and (not MARKER.exists() or read(MARKER) == venv_identity())


def ensure_venv() -> None:
    """Make the environment unless it is there; replace one that is broken, half made or moved."""
    if venv_is_current():
        return
    if VENV.exists() or VENV.is_symlink():
        say("replacing .venv: it is incomplete, was moved, or belongs to another Python")
    say(f"making .venv with Python {sys.version.split()[0]}")
    problems = []
    for way in ways_to_make_venv(base_python()):
        problem = try_to_make_venv(way)
        if not problem:
            return
        problems.append(problem)
    remove(VENV)
    fail(no_venv_message("\n".join(problems)))


def ways_to_make_venv(python: str) -> "list[list[list[str]]]":
    """Return the commands of each way; Debian's Python often has no ensurepip for the first."""
    packages = VENV / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    bare = [python, "-m", "venv", "--without-pip", str(VENV)]
    pip_from_outside = [python, "-m", "pip", "install", "-q", "--target", str(packages), "pip"]
    pip_by_itself = [str(PYTHON), "-m", "pip", "install", "-q", "--force-reinstall", "pip"]
    return [
        [[python, "-m", "venv", str(VENV)]],
        [bare, pip_from_outside, pip_by_itself],  # the last adds the command `pip`
        [[python, "-m", "virtualenv", "-q", str(VENV)]],
    ]


def try_to_make_venv(way: "list[list[str]]") -> str:
    """Start with an empty folder and run the commands; return what went wrong, or nothing."""
    remove(VENV)
    VENV.mkdir()
    write(MARKER, "being made")  # an interruption leaves an environment that is not current
    problem = first_failure(way)
    if not problem:
        write(MARKER, venv_identity())
    return problem


def first_failure(commands: "list[list[str]]") -> str:
    """Run commands until one fails; return that one with its output, or nothing."""
    for command in commands:
        done = run_quietly(command)
        if done.returncode:
            return f"$ {' '.join(command)}\n{done.stdout.strip()}"
    return ""


def no_venv_message(problems: str) -> str:
    """Say what to install when no virtual environment can be made."""
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    return (
        f"this Python cannot make a virtual environment:\n{problems}\n\n"
        f"On Debian and Ubuntu, install the missing part and call x.py again:\n"
        f"    sudo apt install {package}\n"
        f"Elsewhere, `{base_python()} -m pip install virtualenv` is enough."
    )


# --- Installing ----------------------------------------------------------------------------------


def stage_key(stage: Stage) -> str:
    """Return the hash of everything that decides what a stage installs."""
    digest = hashlib.sha256(f"{stage}\n{venv_identity()}".encode())
    for name in ("x.py", "pyproject.toml", "setup.py"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def stamp(name: str) -> Path:
    """Return the file that says which version of a stage is installed."""
    return VENV / f".x-{name}"


def install(stage: Stage) -> bool:
    """Install a stage unless its stamp is valid; print pip's output if that fails."""
    key = stage_key(stage)
    if read(stamp(stage.name)) == key:
        return True
    stamp(stage.name).unlink(missing_ok=True)
    say(f"installing {stage.needs} (once)")
    start = time.monotonic()
    for arguments in stage.installs:
        done = run_quietly([str(PYTHON), "-m", "pip", "install", "-q", *arguments])
        if done.returncode:
            say(f"pip install {' '.join(arguments)} failed:\n{done.stdout.strip()}")
            return False
    write(stamp(stage.name), key)
    for name in stage.includes:
        write(stamp(name), stage_key(next(other for other in (CORE, TEST) if other.name == name)))
    say(f"installed {stage.needs} in {time.monotonic() - start:.0f} s")
    return True


def ensure_links() -> None:
    """Link the other folders into `snnir/`: an unpacked archive has no links, and Windows may not.

    Without them an editable installation does not find the folders.
    """
    for name in ("frontends", "passes", "targets"):
        link = ROOT / "snnir" / name
        if link.is_dir() or not (ROOT / name).is_dir():
            continue
        beside = link.with_name(f"{name}.new")
        remove(beside)
        try:
            beside.symlink_to(Path("..") / name, target_is_directory=True)
            beside.replace(link)
        except OSError as failure:
            fail(f"snnir/{name} cannot be linked to {name}: {failure}; CONTRIBUTING.md says more")


def set_up(stage: Stage) -> None:
    """Make the environment and install a stage, or end."""
    ensure_links()
    ensure_venv()
    if not install(stage):
        fail("set-up failed; mend what pip says above and call x.py again")


def set_up_frameworks() -> None:
    """Install the frameworks that are compared with; the tests of a missing one are skipped."""
    missing = [] if install(TORCH) else [TORCH, *FRAMEWORKS]  # the frameworks need torch
    if not missing:
        missing = [stage for stage in FRAMEWORKS if not install(stage)]
    if missing:
        names = ", ".join(stage.needs for stage in missing)
        say(f"WARNING: not installed: {names}; the tests that need them are skipped")


def set_up_oracle() -> None:
    """Install the vendor's library for Speck beside the environment, in a Python of its own.

    Without, the tests compare with what it said when they were written.
    """
    key = f"{SAMNA}\n{venv_identity()}"
    if read(stamp("samna")) == key:
        return
    python = next(filter(is_python_3_10, pythons_3_10()), "")
    if not python:
        say("no Python 3.10: the vendor's verdicts on Speck are taken from tests/speck")
        return
    remove(ORACLE)
    inside = str(ORACLE / "bin" / "python")
    wheel = ["--no-deps", "--only-binary=:all:", SAMNA]
    problem = first_failure(
        [[python, "-m", "venv", str(ORACLE)], [inside, "-m", "pip", "install", "-q", *wheel]]
    )
    if problem:
        say(f"WARNING: not installed: {SAMNA}; its verdicts are taken from tests/speck\n{problem}")
        remove(ORACLE)
        return
    write(stamp("samna"), key)


def set_up_browser() -> None:
    """Install what the tests open pages with; find a Chromium, or on a CI machine install one."""
    if not install(BROWSER):
        say("WARNING: the tests in a browser are skipped")
        return
    if chromium():
        return
    if os.environ.get("CI") and shutil.which("apt-get") and is_root():
        say("installing Debian's chromium")
        quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
        packages = ["install", "-y", "--no-install-recommends", "chromium"]
        problem = first_failure([[*quiet, "update"], [*quiet, *packages]])
        if problem:
            say(problem)
    if not chromium():
        say("WARNING: no Chromium on the PATH, nor in SNNIR_CHROMIUM; its tests are skipped")


def chromium() -> str:
    """Return the browser the tests will find, or nothing; see tests/browser/conftest.py."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    given = os.environ.get("SNNIR_CHROMIUM")
    return next(filter(None, map(shutil.which, (given,) if given else names)), "")


def is_root() -> bool:
    """Whether this process may install packages of the system."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def pythons_3_10() -> "list[str]":
    """Return commands that may be a Python 3.10."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = [str(path) for path in sorted(pyenv.glob("3.10*/bin/python3"))]
    return [base_python(), shutil.which("python3.10") or "", *found]


def is_python_3_10(python: str) -> bool:
    """Whether a command starts a Python 3.10."""
    ask = "import sys; sys.exit(sys.version_info[:2] != (3, 10))"
    return bool(python) and run_quietly([python, "-c", ask]).returncode == 0


# --- Jobs ----------------------------------------------------------------------------------------


def demo(_: argparse.Namespace, rest: "list[str]") -> int:
    """Run examples/digits/demo.py."""
    set_up(CORE)
    return call(str(ROOT / "examples" / "digits" / "demo.py"), *rest, here=True)


def test(options: argparse.Namespace, rest: "list[str]") -> int:
    """Run lint, types and all tests, or only the fast tests."""
    set_up(TEST)
    if options.fast:
        return pytest("-m", "not slow and not framework", *rest)
    checks = {name: beside(name) for name in ("lint", "types")}  # while packages are fetched
    set_up_frameworks()
    set_up_oracle()
    set_up_browser()
    if not install(DOCS):
        say("WARNING: the documentation is not built")
    if not install(NOTEBOOKS):
        say("WARNING: the notebooks are not executed")
    results = {name: result_of(check) for name, check in checks.items()}
    results["pytest"] = pytest(*rest)
    for name, code in results.items():
        say(f"{name}: {'failed' if code else 'passed'}")
    return max(results.values(), key=abs)


def lint(_: argparse.Namespace, __: "list[str]") -> int:
    """Check rules and format with ruff."""
    set_up(TEST)
    return check_lint()


def types(_: argparse.Namespace, __: "list[str]") -> int:
    """Check types with mypy."""
    set_up(TEST)
    return check_types()


def fmt(_: argparse.Namespace, __: "list[str]") -> int:
    """Format the code and mend what ruff can."""
    set_up(TEST)
    fixed = call("-m", "ruff", "check", "-q", "--fix", ".")
    return call("-m", "ruff", "format", ".") or fixed


def bench(options: argparse.Namespace, rest: "list[str]") -> int:
    """Run benchmarks/NAME.py."""
    scripts = {path.stem: path for path in sorted((ROOT / "benchmarks").glob("[!_]*.py"))}
    if options.name not in scripts:
        fail(f"no benchmark {options.name!r}; there are: {', '.join(scripts) or 'none yet'}")
    set_up(TEST)
    set_up_frameworks()
    return call(str(scripts[options.name]), *rest, here=True)


def notebooks(_: argparse.Namespace, rest: "list[str]") -> int:
    """Execute the notebooks in examples/notebooks/, or those named, and keep what they print."""
    set_up(CORE)
    set_up_frameworks()
    set_up(NOTEBOOKS)
    return call(str(ROOT / "examples" / "notebooks" / "execute.py"), *rest)


def release(options: argparse.Namespace, _: "list[str]") -> int:
    """Build into dist/, check what was built, and install it on every Python found."""
    problem = release_problem(options.tag) if options.tag else ""
    if problem:
        fail(problem)
    set_up(RELEASE)
    dist = ROOT / "dist"
    remove(dist)
    say("building")
    done = run_quietly([str(PYTHON), "-m", "build", "--outdir", str(dist), str(ROOT)])
    if done.returncode:
        fail(f"the build failed:\n{done.stdout}")
    wheels = [str(path) for path in dist.glob("*.whl")]
    built = [*wheels, *(str(path) for path in dist.glob("*.tar.gz"))]
    wrong = call("-m", "twine", "check", "--strict", *built)
    wrong |= call("-m", "check_wheel_contents", *wheels)
    say("installing on every Python found")
    return wrong | call("-m", "tests.release.everywhere", *wheels)


def release_problem(tag: str) -> str:
    """Return how a tag differs from the version of the sources and their changelog, or nothing."""
    version = re.search(r'^__version__ = "(.+)"$', read(ROOT / "snnir/__init__.py"), re.MULTILINE)
    if version is None or tag != f"v{version[1]}":
        return f"the tag is {tag}, snnir/__init__.py has {version and version[0]}"
    heading = re.search(r"^## .*$", read(ROOT / "CHANGELOG.md"), re.MULTILINE)
    dated = rf"## \[{re.escape(version[1])}\] - \d{{4}}-\d\d-\d\d"
    if heading is None or not re.fullmatch(dated, heading[0]):
        return (
            f"CHANGELOG.md begins with {heading and heading[0]!r}, not with {version[1]} and a date"
        )
    return ""


def docs(options: argparse.Namespace, _: "list[str]") -> int:
    """Build the documentation as a site in site/, or serve it, or take its screenshots."""
    set_up(CORE)
    if options.screenshots:
        set_up_browser()
        return call("docs/screenshots.py", *(("--chromium", chromium()) if chromium() else ()))
    set_up(DOCS)
    os.environ["NO_MKDOCS_2_WARNING"] = "1"  # an advertisement
    return call("-m", "mkdocs", *(("serve",) if options.serve else ("build", "--strict")))


def clean(_: argparse.Namespace, __: "list[str]") -> int:
    """Remove .venv, builds and caches."""
    caches = [".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", "build", "dist", "site"]
    found = [VENV, *(ROOT / name for name in caches), *ROOT.glob("*.egg-info")]
    for folder in ("snnir", "frontends", "passes", "targets", "tests", "benchmarks", "examples"):
        found += (ROOT / folder).rglob("__pycache__")
    for path in found:
        remove(path)
    return 0


def beside(job: str) -> "tuple[subprocess.Popen[str], IO[str]]":
    """Start a job beside this one; what it prints is kept."""
    kept = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  (closed by result_of)
    command = [sys.executable, str(ROOT / "x.py"), job]
    return subprocess.Popen(command, stdout=kept, stderr=kept, text=True), kept


def result_of(started: "tuple[subprocess.Popen[str], IO[str]]") -> int:
    """Wait for a job that was started beside, print what it printed, and return its exit code."""
    process, kept = started
    code = process.wait()
    with kept:
        kept.seek(0)
        print(kept.read(), end="", flush=True)
    return code


def check_lint() -> int:
    """Run both checks of ruff."""
    return call("-m", "ruff", "check", ".") | call("-m", "ruff", "format", "--check", ".")


def check_types() -> int:
    """Check the package by its name, then the files around it."""
    folders = ("tests", "benchmarks", "examples", "docs")
    around = [name for name in folders if any((ROOT / name).rglob("*.py"))]
    return call("-m", "mypy", "-p", "snnir") | call("-m", "mypy", "x.py", "setup.py", *around)


def pytest(*arguments: str) -> int:
    """Run pytest on all cores, unless the arguments say on how many.

    There is a worker more than cores, because many tests wait for programs that they start.
    """
    chosen = any(word.startswith(("-n", "--numprocesses")) for word in arguments)
    workers = ("-n", str((os.cpu_count() or 1) + 1), "--dist", "worksteal")
    return call("-m", "pytest", *(() if chosen else workers), *arguments)


# --- Helpers -------------------------------------------------------------------------------------


def call(*arguments: str, here: bool = False) -> int:
    """Run the environment's Python in the root, or `here`, where the user is."""
    folder = None if here else ROOT
    return subprocess.run([str(PYTHON), *arguments], cwd=folder, check=False).returncode


def run_quietly(command: "list[str]") -> "subprocess.CompletedProcess[str]":
    """Run a command of the set-up and keep what it prints."""
    settings = {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONHOME"}
    return subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**environment, **settings},
        check=False,
    )


def read(path: Path) -> str:
    """Return the content of a file, nothing if it is not there."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def write(path: Path, text: str) -> None:
    """Write a file in one step, so that an interruption leaves the old state or the new."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def remove(path: Path) -> None:
    """Remove a folder, a file or a link; never what a link points to."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)


# --- Command line --------------------------------------------------------------------------------

JOBS = {
    "demo": demo,
    "test": test,
    "lint": lint,
    "types": types,
    "fmt": fmt,
    "bench": bench,
    "notebooks": notebooks,
    "release": release,
    "docs": docs,
    "clean": clean,
}
FORWARDING = {"demo", "test", "bench", "notebooks"}


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="x.py",
        description="Set up snnir and run one of its jobs. Everything is installed into .venv.",
        epilog="Further arguments of demo, bench and notebooks go to the script, those of test to "
        "pytest: x.py test -k neuron; after -- also those that x.py itself knows.",
        allow_abbrev=False,
    )
    jobs = parser.add_subparsers(dest="job", required=True, metavar="JOB")
    for name, job in JOBS.items():
        text = (job.__doc__ or "").replace("%", "%%")
        sub = jobs.add_parser(name, help=text, description=text, allow_abbrev=False)
        if name == "test":
            sub.add_argument(
                "--fast", action="store_true", help="only the fast tests: no lint, no frameworks"
            )
        if name == "release":
            sub.add_argument(
                "--tag", help="fail unless version and changelog are those of this tag"
            )
        if name == "docs":
            sub.add_argument("--serve", action="store_true", help="show it, and each change of it")
            sub.add_argument(
                "--screenshots", action="store_true", help="take the pictures of the pages again"
            )
        if name == "bench":
            sub.add_argument("name", metavar="NAME", help="a script in benchmarks/, without .py")
    return parser


def main(arguments: "list[str]") -> int:
    """Run the job that the arguments name and return its exit code."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    parser = make_parser()
    options, rest = parser.parse_known_args(arguments[:split])
    rest += arguments[split + 1 :]
    if rest and options.job not in FORWARDING:
        parser.error(f"{options.job} takes no arguments: {' '.join(rest)}")
    try:
        return JOBS[options.job](options, rest)
    except KeyboardInterrupt:
        say("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
