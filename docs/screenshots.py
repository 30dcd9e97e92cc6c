"""Take the pictures of docs/report.md: `x.py docs --screenshots`, or this script.

It makes the pages of the models that the guide shows, opens them in Chromium and writes
`docs/pictures/*.png`. It needs Playwright for Python, and Chromium: one that Playwright
installed, or `--chromium PATH`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import snnir

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
#: Kept small: they are in the repository.
LARGEST = 200_000
OFFLINE = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@dataclass(frozen=True)
class Shot:
    """One picture.

    Attributes:
        name: Of the file, without its suffix.
        page: Writes the page to a path.
        element: What of it is shown, a selector of CSS.
        click: Nodes that are opened before.
        dark: Whether the dark scheme is shown.
        width: Of the window in pixels.
    """

    name: str
    page: Callable[[Path], object]
    element: str
    click: tuple[str, ...] = ()
    dark: bool = False
    width: int = 1180


# --- Pages ---------------------------------------------------------------------------------------


def cnn(corpus: Path) -> snnir.Graph:
    """Return the classifier of N-MNIST that Sinabs trained."""
    return snnir.load(corpus / "nmnist_cnn_sinabs.nir", semantics="sinabs", dt=1e-3)


def braille(corpus: Path, semantics: str) -> snnir.Graph:
    """Return the recurrent classifier of Braille letters, as a framework steps it."""
    path = corpus / "braille_zero.nir"
    return snnir.load(path, semantics=semantics, dt=1e-4, reset="zero")


def letter(corpus: Path) -> Any:
    """Return one recorded letter, [T, 12]."""
    return np.load(corpus / "recordings" / "braille_input.npy")


def shots(corpus: Path) -> list[Shot]:
    """Return all pictures, those of models that are not here left out."""
    examples = ROOT / "examples"
    digits, yinyang = examples / "speck" / "digits_conv.nir", examples / "yinyang" / "yinyang.snnir"

    def diff_page(path: Path) -> None:
        sides = braille(corpus, "snntorch"), braille(corpus, "norse")
        found = snnir.diff(*sides, letter(corpus), membranes=True)
        snnir.report(found, path)

    def braille_page(path: Path) -> None:
        model = braille(corpus, "snntorch")
        snnir.report(model, path, activity=snnir.activity(model, letter(corpus)))

    def cnn_page(path: Path) -> None:
        model = cnn(corpus)
        x = (np.random.default_rng(0).random((100, 1, 2, 34, 34)) < 0.02).astype(np.float32)
        snnir.report(model, path, activity=snnir.activity(model, x))

    def speck_page(path: Path) -> None:
        snnir.report(snnir.compile(snnir.load(digits, dt=1e-3), "speck"), path)

    def bss2_page(path: Path) -> None:
        snnir.report(snnir.compile(snnir.load(yinyang), "bss2"), path)

    found = [
        Shot("report-speck", speck_page, "section:has(figure svg.chart)"),
        Shot("report-bss2", bss2_page, "section:has(figure svg.chart)"),
    ]
    if not corpus.is_dir():
        print(f"left out, as {corpus} is not there: the pictures of its models")
        return found
    return [
        Shot("report-cnn", cnn_page, "#graph", ("6",)),
        Shot("report-activity", cnn_page, "#activity", width=1500),
        Shot("report-braille", braille_page, "#spikes"),
        Shot("report-braille-dark", braille_page, "#graph", ("lif1.lif",), dark=True),
        Shot("report-diff", diff_page, "#first"),
        Shot("report-diff-graph", diff_page, "#graph"),
        *found,
    ]


# --- Pictures ------------------------------------------------------------------------------------


def take(shot: Shot, browser: Any, folder: Path) -> Path:
    """Write a picture and return its path."""
    page_path = folder / f"{shot.name}.html"
    shot.page(page_path)
    scheme = "dark" if shot.dark else "light"
    window = {"width": shot.width, "height": 900}
    page = browser.new_page(viewport=window, color_scheme=scheme, device_scale_factor=1.25)
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda failure: faults.append(str(failure)))
    page.goto(page_path.as_uri())
    for name in shot.click:
        page.get_by_role("button", name=f"{name}:").first.click()
    path = PICTURES / f"{shot.name}.png"
    page.locator(shot.element).first.screenshot(path=path)
    page.close()
    if faults:
        raise SystemExit(f"{shot.name}: the page complains: {faults[0]}")
    if path.stat().st_size > LARGEST:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes, more than {LARGEST}")
    return path


def main() -> None:
    """Take all pictures, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="Pictures to take; all by default.")
    parser.add_argument("--corpus", type=Path, default=ROOT.parent / "shared" / "corpus")
    found = os.environ.get("SNNIR_CHROMIUM") or shutil.which("chromium")
    parser.add_argument("--chromium", default=found, help="Path of the browser.")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    warnings.simplefilter("ignore", snnir.SnnirWarning)
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=list(OFFLINE))
        for shot in shots(options.corpus):
            if not options.names or shot.name in options.names:
                path = take(shot, browser, Path(folder))
                print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")
        browser.close()


if __name__ == "__main__":
    main()
