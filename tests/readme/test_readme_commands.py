"""Runs what README.md tells the reader to run, in order, in an empty folder.

Fences labelled `bash` and `python` are run, unless the line above the fence begins with `<!-- not run`
(as in `<!-- not run: needs a GPU -->`).
In a `bash` fence, commands that begin with `interp` or `python` run; those that set the project up are only
checked to exist; any other is an error, so that no command stands in README.md untried by accident.
"""

from __future__ import annotations

import doctest
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
README = ROOT / "README.md"
SETTING_UP = {"cd", "git", "pip"}
RUN = {"interp", "python"}
LIMIT = 300  # seconds for one command


@dataclass(frozen=True)
class Fence:
    """One fenced block: its language, the line number of its first line, and its text."""

    language: str
    line: int
    text: str


def fences(markdown: str) -> list[Fence]:
    """The `bash` and `python` blocks that are to be run."""
    lines = markdown.splitlines()
    found: list[Fence] = []
    start = None
    for number, line in enumerate(lines):
        if start is None and line.startswith("```"):
            start = number
        elif start is not None and line.strip() == "```":
            language = lines[start].removeprefix("```").strip()
            above = next((text.strip() for text in reversed(lines[:start]) if text.strip()), "")
            if language in {"bash", "python"} and not above.startswith("<!-- not run"):
                found.append(Fence(language, start + 2, "\n".join(lines[start + 1 : number])))
            start = None
    return found


def commands(text: str) -> list[str]:
    """The commands of a `bash` block: continued lines joined, comments and blank lines left out."""
    lines = [line.strip() for line in text.replace("\\\n", "").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def run_command(command: str, where: Path) -> None:
    """Run one command with this very interpreter and its scripts first on the path."""
    first = shlex.split(command, comments=True)
    if first[0] in SETTING_UP:
        return
    if first[0] == "make":
        subprocess.run(["make", "--dry-run", *first[1:]], cwd=ROOT, check=True, capture_output=True)
        return
    assert first[0] in RUN, f"not known whether to run {command!r}; if not, mark it <!-- not run -->"
    scripts = str(Path(sys.executable).parent)
    env = {**os.environ, "PATH": os.pathsep.join([scripts, os.environ.get("PATH", "")])}
    done = subprocess.run(
        ["bash", "-c", command], cwd=where, env=env, capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def run_python(fence: Fence, names: dict[str, object]) -> None:
    """Run a block as a doctest where it has prompts, else as a script; blocks share their names."""
    if ">>>" not in fence.text:
        exec(compile("\n" * (fence.line - 1) + fence.text, str(README), "exec"), names)
        return
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    test = doctest.DocTestParser().get_doctest(fence.text, names, "README.md", str(README), fence.line - 1)
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=options).run(test, out=report.append, clear_globs=False)
    names.update(test.globs)
    assert result.failed == 0, "".join(report)


def test_every_command_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not README.exists():
        pytest.skip("there is no README.md")
    found = fences(README.read_text(encoding="utf-8"))
    assert found, "README.md holds no command that runs"
    for folder in ("experiments", "notebooks"):
        if (ROOT / folder).is_dir():
            (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "readme"}
    for fence in found:
        if fence.language == "python":
            run_python(fence, names)
        else:
            for command in commands(fence.text):
                run_command(command, tmp_path)


SAMPLE = """\
```bash
make help
python -c "open('made', 'w').write(\\
  'x')"   # writes a file
```
<!-- not run: a reason -->

```bash
interp never
```
```text
python never
```
```python
from pathlib import Path
size = Path("made").stat().st_size
```
```python
>>> size
1
```
"""


def test_blocks_are_found_and_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bash, script, prompt = fences(SAMPLE)
    assert [bash.line, script.line, prompt.line] == [2, 15, 19]
    assert commands(bash.text)[0] == "make help" and "never" not in bash.text
    monkeypatch.chdir(tmp_path)
    for command in commands(bash.text):
        run_command(command, tmp_path)
    names: dict[str, object] = {}
    run_python(script, names)
    run_python(prompt, names)
    assert (tmp_path / "made").read_text() == "x"


@pytest.mark.parametrize("command", ["python -c 'exit(1)'", "curl example.org", "interp no-such-command"])
def test_a_failing_or_unknown_command_fails(command: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        run_command(command, tmp_path)


def test_a_missing_make_target_fails(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run_command("make no-such-target", tmp_path)


def test_wrong_output_fails() -> None:
    with pytest.raises(AssertionError, match="Got"):
        run_python(Fence("python", 1, ">>> 1 + 1\n3\n"), {})
