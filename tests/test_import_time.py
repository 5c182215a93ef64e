"""`import interp` must stay quick: it may load nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {"captum", "jinja2", "matplotlib", "numpy", "pandas", "PIL", "plotly", "pyarrow", "scipy", "sklearn"}
HEAVY |= {"torch", "transformers", "tyro"}
PROBE = """
import json, sys, time
before = set(sys.modules)
start = time.perf_counter()
import {module}
seconds = time.perf_counter() - start
print(json.dumps([seconds, sorted(set(sys.modules) - before)]))
"""


def loaded_by(module: str) -> tuple[float, set[str]]:
    """Seconds that importing a module takes in a fresh interpreter, and the modules it loads."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(module=module)], capture_output=True, text=True, check=True
    )
    seconds, names = json.loads(done.stdout)
    print(f"import {module}: {1000 * seconds:.0f} ms, {len(names)} modules")
    return seconds, set(names)


def test_importing_the_package_loads_nothing_heavy() -> None:
    _, names = loaded_by("interp")
    assert "interp" in names
    assert names & HEAVY == set()
    assert {name for name in names if name.startswith("interp.")} == set()


def test_the_probe_sees_a_heavy_module() -> None:
    _, names = loaded_by("numpy")
    assert names & HEAVY == {"numpy"}
