"""Commands say where they compile, once."""

import subprocess
import sys

SCRIPT = """
import numba
from morphion.cli.options import use_threads
use_threads(None)
use_threads(1)
for _ in range(2):
    numba.njit(lambda x: x + 1)(1)
"""


def test_the_first_compilation_of_a_process_is_announced():
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert ran.stderr.splitlines() == ["compiling for this processor; kept for later runs"]
