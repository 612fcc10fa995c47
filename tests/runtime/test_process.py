"""What the process asks of the operating system; in processes of their own, for it cannot be taken back."""

from __future__ import annotations

import subprocess
import sys

import pytest

_ASK = """
import resource, sys
from omni.runtime.process import raise_file_limit
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(raise_file_limit(wanted), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "then"),
    [(256, 4096, 1024, 1024), (256, 512, 1024, 512), (256, 256, 1024, 256), (600, 4096, 512, 600)],
)
def test_the_soft_limit_is_raised_as_far_as_it_may_and_never_lowered(
    soft: int, hard: int, wanted: int, then: int
) -> None:
    line = [sys.executable, "-c", _ASK, str(soft), str(hard), str(wanted)]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == [str(then), str(then), str(hard)]
