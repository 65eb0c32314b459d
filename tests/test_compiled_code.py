"""Code that Numba compiled before is read again, or compiled anew where it is damaged."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba", reason="compiled code needs the extra `fast`")

MODULE = "def double(x):\n    return 2 * x\n"
CALL = """
import logging
from pathlib import Path
logging.basicConfig(level="INFO", format="%(message)s")
from specialists.compiled_code import compiled
import doubling
print(compiled(doubling.double, [Path(doubling.__file__)])(21.0))
"""


def called(folder: Path) -> tuple[str, str]:
    paths = ":".join([str(folder), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", CALL],
        env={"PYTHONPATH": paths, "HOME": str(folder)},
        capture_output=True,
        text=True,
    )
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_damaged_code_is_told_and_compiled_anew(tmp_path, kind):
    (tmp_path / "doubling.py").write_text(MODULE)
    assert called(tmp_path) == ("42.0", "")
    (file,) = (tmp_path / "__pycache__").glob(f"*.{kind}")
    file.write_bytes(file.read_bytes()[:40])
    answer, told = called(tmp_path)
    assert answer == "42.0"
    assert "compiled anew for this process" in told
    assert "Traceback" not in told
