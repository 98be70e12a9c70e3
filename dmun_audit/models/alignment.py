"""Where weights lie in memory: it decides the last bits of what a CPU computes, and how much memory a model takes."""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import torch

from dmun_audit.models.fingerprint import modules

ALIGNMENT = 64  # bytes; torch's own allocations have it
PAGE_OUT = 21  # MADV_PAGEOUT of Linux 5.4 and later: pages of a file leave memory, and come back when they are read


def align(pipeline: Any) -> None:
    """Copy weights that are not aligned or not contiguous in memory, so that every process computes the same last bits with them.

    Weights in a mapped file begin where its header ends. A CPU's kernels sum unaligned numbers, and those of another memory format,
    in another order. The file's pages leave memory as soon as they are copied: otherwise every weight is there twice for a moment.
    """
    for network in modules(pipeline).values():
        for tensor in [*network.parameters(), *network.buffers()]:
            plain = torch.empty(tensor.shape, device="meta").stride()  # is_contiguous ignores sides of length 1, kernels do not
            if tensor.data_ptr() % ALIGNMENT or tensor.stride() != plain:
                before = tensor.data
                tensor.data = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(before)
                _let_pages_go(before)


def _let_pages_go(tensor: torch.Tensor) -> None:
    """Let Linux take the pages under a tensor that nobody reads soon. It keeps their content, so this is safe for any tensor."""
    first = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    size = tensor.data_ptr() + tensor.numel() * tensor.element_size() - first
    if sys.platform == "linux" and size >= mmap.PAGESIZE:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(size), PAGE_OUT)
