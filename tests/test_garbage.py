"""Large libraries are not searched for garbage, and everything else still is."""

import subprocess
import sys

import pytest

CODE = """
import gc, weakref
from dmun_audit._util.garbage import never_collected

class Node:
    def __init__(self):
        self.itself = self

{before}
try:
    with never_collected():
        assert not gc.isenabled()
        kept = weakref.ref(Node())
        {inside}
except KeyError:
    pass
lost = weakref.ref(Node())
gc.collect()
print(gc.isenabled(), kept() is not None, lost() is None)
"""


@pytest.mark.parametrize(
    ("before", "inside", "printed"),
    [
        ("", "pass", "True True True"),
        ("", "raise KeyError", "True True True"),
        ("gc.disable()", "pass", "False True True"),
    ],
)
def test_what_the_context_makes_is_kept_and_what_follows_is_collected(before, inside, printed):
    code = CODE.format(before=before, inside=inside)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )  # it concerns a whole process
    assert done.stdout.strip() == printed, done.stderr
