"""Every example and the quick start are short, run, print what they promise and end; the types are right."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
EXPECTED = json.loads((HERE.parent / "examples.json").read_text())


def run(node, *arguments):
    environment = {**os.environ, "MISO_URL": node.url("garage:-"), "PYTHONPATH": str(HERE)}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


@pytest.mark.parametrize("name", EXPECTED)
def test_example(node, name):
    path = HERE / "examples" / f"{name}.py"
    assert len(path.read_text().splitlines()) < 60
    assert run(node, path).splitlines() == EXPECTED[name]


def test_quick_start_of_the_readme(node):
    code = re.search(r"```python\n(.*?)```", (HERE / "README.md").read_text(), re.DOTALL)[1]
    assert run(node, "-c", code) == "driven: 120 m\n"


def test_types(tmp_path):
    uses = tmp_path / "uses.py"
    uses.write_text(
        "from miso_crdt import MisoObject, AsyncMisoObject\n"
        "total: int = MisoObject().get_gcounter('n').add(1)\n"
        "async def play(so: AsyncMisoObject) -> bool:\n"
        "    return await so.get_ewflag('f').get_value()\n"
        "MisoObject().get_gcounter('n').add('1')  # type: ignore[arg-type]\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "miso_crdt", uses]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
