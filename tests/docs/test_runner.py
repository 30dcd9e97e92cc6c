"""The runner of the documentation notices what is wrong with a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.page_blocks import PageError, agrees, commands, read_page
from tests.docs.test_pages import findings, run_page

GOOD = """\
# A page
<!-- file: digits.nir from examples/digits/digits.nir -->
<!-- prepare:
from pathlib import Path
Path("made.txt").write_text("made")
-->

```python
from pathlib import Path
text = Path("made.txt").read_text()
assert Path("digits.nir").exists()
```

```python title="own.py"
import sys
print("called with", *sys.argv[1:])
```

```console
$ python own.py a \\
    b
called with a b
$ cat made.txt
m…e
```

```python
print(text.upper())
```

<!-- output -->
```text
MADE
```

<!-- fails: refused -->
```python
raise ValueError("refused")
```

<!-- fails: SNN -->
```console
$ snnir inspect made.txt
error[SNN…
```
"""


def run(text: str, folder: Path) -> str:
    """Run a page of this text; return what it complains about."""
    (folder / "page.md").write_text(text, "utf-8")
    done = run_page(folder / "page.md", folder)
    assert bool(done.returncode) == bool(done.stderr)
    return done.stderr


@pytest.mark.slow
def test_a_page_that_works(tmp_path: Path) -> None:
    assert run(GOOD, tmp_path) == ""
    assert not findings(read_page(tmp_path / "page.md"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('made.txt").write', 'other.txt").write', "page.md:9: this block failed"),
        ("print(text", "print(txet", "NameError"),
        ("MADE", "Made", "but this was printed"),
        ("with a b", "with a c", "but this was printed"),
        ("cat made.txt", "cat absent.txt", "exit code 1"),
        ('"refused"', '"another"', "another"),
        ('raise ValueError("refused")', "pass", "this should fail"),
        ("error[SNN", "warning[SNN", "but this was printed"),
        ("digits/digits.nir", "digits/absent.nir", "absent.nir"),
    ],
)
def test_a_page_that_does_not(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in GOOD
    assert said in run(
        GOOD.replace(old, new).replace("snnir inspect", "echo 'error[SNN'; false"), tmp_path
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```\nx = 1\n```\n", "a block of no language"),
        ("```perl\n1\n```\n", "a block of perl"),
        ("```text\nimport snnir\n```\n", "say which language"),
        ("As in\n\n    import snnir\n", "never run"),
        ('```python title="own.py"\n```\n', "no block after it uses own.py"),
        (
            "<!-- not run: takes minutes -->\n```bash\npython3 x.py bench absent\n```\n",
            "there is no",
        ),
        (
            "<!-- not run: takes minutes -->\n```bash\npython3 x.py bench ipu --absent\n```\n",
            "benchmarks/ipu.py has no --absent",
        ),
        ("<!-- not run: takes minutes -->\n```bash\nfor x in\n```\n", "syntax error"),
    ],
)
def test_blocks_that_would_not_be_run(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(text, "utf-8")
    assert said in "\n".join(findings(read_page(tmp_path / "page.md")))


@pytest.mark.parametrize(
    "text", ["```python\nx\n", "<!-- output -->\n\ntext\n", "<!-- fails: x -->"]
)
def test_pages_that_cannot_be_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(text, "utf-8")
    with pytest.raises(PageError):
        read_page(tmp_path / "page.md")


def test_commands_and_their_output() -> None:
    text = "$ a \\\n  b\none\ntwo\n$ cat <<E\n> x\n> E\n$ c\n"
    assert commands(text) == [("a \\\n  b", "one\ntwo"), ("cat <<E\nx\nE", ""), ("c", "")]
    with pytest.raises(PageError, match="begins with"):
        commands("one\n$ a\n")


def test_agreement() -> None:
    assert agrees("a …\nc\n", "a 1\n2\nc  \n\n")
    assert not agrees("a.c", "abc")
    assert not agrees("a\nb", "a\nb\nc")
