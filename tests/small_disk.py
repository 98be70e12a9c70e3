"""A disk of a few hundred kilobytes, so that tests can fill it. It needs the right to mount; a test without it is skipped."""

import errno
import os
import subprocess
from contextlib import contextmanager

import pytest


class SmallDisk:
    """A file system in memory at `folder`. `fill` leaves no space, or some; `free` gives all of it back."""

    def __init__(self, folder):
        self.folder = folder
        self._filler = folder / "filler"

    @property
    def free_bytes(self):
        return (found := os.statvfs(self.folder)).f_bavail * found.f_frsize

    def fill(self, leave=0):
        """Fill the disk up to `leave` bytes, which are rounded up to whole blocks."""
        self._filler.touch()
        with self._filler.open("ab", buffering=0) as stream:
            try:
                while (size := self.free_bytes - leave) > 0:
                    stream.write(b"x" * min(size, 65536))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self):
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk(folder, kilobytes, files=1000):
    """A disk of that size for that many files and folders at `folder`, for the time of the context."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,nr_inodes={files}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        pytest.skip(f"no small disk can be mounted here: {error}")
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
