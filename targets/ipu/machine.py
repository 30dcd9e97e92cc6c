"""Facts of Graphcore's second generation of IPUs, with the public file each was read in."""

from __future__ import annotations

from dataclasses import dataclass

#: Tiles of an IPU: graphcore/poptorch, popart_compiler/source/Utils.cpp.
TILES = 1472
#: Bytes of a tile's memory: graphcore/popart, tests/integration/
#: available_memory_proportion_test.py.
TILE_BYTES = 638_976
#: Threads of a tile that compute vertices: graphcore/poplibs, lib/popops/ and others use
#: `target.getNumWorkerContexts()`; six on all IPUs.
WORKERS = 6
#: Cycles in a second: graphcore/examples, tutorials/poplar/tut6_matrix_vector_opt counts
#: 6,681,766 cycles in 5,023.9 microseconds.
CLOCK_HZ = 1.33e9
#: IPUs that one machine may have here: a power of two, as pods are built.
MOST_IPUS = 64


@dataclass(frozen=True)
class Machine:
    """What a replica of a model may use.

    Attributes:
        ipus: IPUs of one replica.
        reserve: Share of every tile that is left for code, stacks, message buffers and the
            exchange program, which only the vendor's compiler knows.
        tiles, tile_bytes: Of one IPU.
    """

    ipus: int = 1
    reserve: float = 0.15
    tiles: int = TILES
    tile_bytes: int = TILE_BYTES

    @property
    def usable(self) -> int:
        """Bytes of a tile that the plan may use."""
        return int(self.tile_bytes * (1 - self.reserve))

    @property
    def capacity(self) -> int:
        """Bytes of all tiles that the plan may use."""
        return self.all_tiles * self.usable

    @property
    def all_tiles(self) -> int:
        """Tiles of a replica."""
        return self.ipus * self.tiles
