"""Memory that is used again.

The system gives large arrays fresh pages, and taking a page costs more than a scan does with it:
without this, a fifth of a training step went there. What is freed is kept for the next array of
its size, up to `MOST` bytes.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from math import prod

import torch
from torch import Tensor

#: Bytes from which memory is kept, and of all that is kept.
LEAST, MOST = 1 << 20, 1 << 29


class Memory:
    """Keeps what was freed.

    Attributes:
        held: Bytes that are kept.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[Tensor]] = {}
        self._lock = threading.RLock()  # what is freed may be found while the lock is held
        self.held = 0

    def empty(self, *shape: int) -> Tensor:
        """Return a float32 tensor with any content."""
        size = 4 * prod(shape)
        if size < LEAST:
            return torch.empty(shape)
        with self._lock:
            known = self._free.get(size)
            memory = known.pop() if known else None
            self.held -= 0 if memory is None else size
        if memory is None:
            memory = torch.empty(size, dtype=torch.uint8)
        view = (ctypes.c_char * size).from_address(memory.data_ptr())
        # The tensor's storage holds the view, so this runs when nothing uses the memory any more.
        weakref.finalize(view, self._give_back, memory).atexit = False
        return torch.frombuffer(view, dtype=torch.float32).reshape(shape)

    def zeros(self, *shape: int) -> Tensor:
        """Return a float32 tensor of zeros."""
        return self.empty(*shape).zero_()

    def _give_back(self, memory: Tensor) -> None:
        size = memory.numel()
        if size > MOST:
            return
        with self._lock:
            # Room is made by other sizes; those of this size serve as well as this one.
            for other in [key for key in self._free if key != size]:
                while self._free[other] and self.held + size > MOST:
                    self._free[other].pop()
                    self.held -= other
            if self.held + size <= MOST:
                self._free.setdefault(size, []).append(memory)
                self.held += size


#: What all networks share.
MEMORY = Memory()
