"""Checks a `plan.json` by docs/ipu-format.md alone; shares nothing with the planner."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

WIDTHS = {
    "float": 4, "int": 4, "unsigned": 4, "half": 2, "short": 2, "unsigned short": 2,
    "signed char": 1, "unsigned char": 1,
}  # fmt: skip
KINDS = {"constant": "constants", "state": "states", "scratch": "scratch"}


def whole(size: int) -> int:
    """Bytes of a region."""
    return math.ceil(size / 8) * 8


def unrolled(pairs: list[list[int]]) -> list[int]:
    return [number for number, times in pairs for _ in range(times)]


@dataclass
class Measured:
    """What the checker finds of a plan.

    Attributes:
        tiles: Bytes by kind, for each tile.
        received: Bytes that each tile gets of each image, by value and lateness.
        between: Bytes that IPUs get from others of each image.
        gathered: Of each time that a value is gathered: bytes received, by the busiest tile, and
            between IPUs.
        problems: Every rule that is broken.
    """

    tiles: dict[str, list[int]]
    received: dict[tuple[str, bool], dict[int, int]] = field(default_factory=dict)
    between: dict[tuple[str, bool], int] = field(default_factory=dict)
    gathered: list[tuple[int, int, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def bytes_of(self, tile: int) -> int:
        return sum(each[tile] for each in self.tiles.values())


class Checker:
    """Goes through one plan."""

    def __init__(self, plan: Json) -> None:
        self.plan, self.machine = plan, plan["machine"]
        self.count = self.machine["ipus"] * self.machine["tiles_per_ipu"]
        kinds = ("constants", "states", "scratch", "values", "images", "gathered", "vertices")
        self.found = Measured({kind: [0] * self.count for kind in kinds})
        self.again = self.again_far = 0  # bytes of gatherings, of all times
        self.senders: dict[str, list[int]] = {}  # of each value, who sends each part to readers
        self.values = {value["name"]: value for value in plan["values"]}
        self.homes: dict[str, list[int]] = {}  # of each value, the tile of every part
        self.stage_of: dict[str, Json] = {}

    def check(self) -> Measured:
        for stage in self.plan["stages"]:
            self.stage(stage)
        self.senders = dict(self.homes)
        for gathering in self.plan["gathered"]:
            self.gathering(gathering)
        for image in self.plan["images"]:
            self.image(image)
        for stage in self.plan["stages"]:
            self.reads(stage)
        self.sums()
        return self.found

    def wrong(self, what: str) -> None:
        self.found.problems.append(what)

    def must(self, holds: bool, what: str) -> None:
        if not holds:
            self.wrong(what)

    # --- Stages ----------------------------------------------------------------------------------

    def stage(self, stage: Json) -> None:
        name, parts, workers = stage["name"], stage["parts"], stage["workers"]
        self.must(parts == math.ceil(stage["size"] / stage["per"]), f"{name}: parts")
        tiles = [tile + n for tile, count in stage["tiles"] for n in range(count)]
        homes = [tiles[part // workers] for part in range(parts)]
        self.must(len(tiles) == math.ceil(parts / workers), f"{name}: a tile has no part")
        self.must(all(0 <= tile < self.count for tile in tiles), f"{name}: no such tile")
        self.must(max(map(homes.count, set(homes))) <= 6, f"{name}: more parts than workers")
        for value in stage["results"]:
            self.homes[value], self.stage_of[value] = homes, stage
            self.value(self.values[value], stage)
            for tile in homes:
                self.found.tiles["values"][tile] += whole(self.region(self.values[value]))
        for tile in homes:
            self.found.tiles["vertices"][tile] += stage["vertex_bytes"]
        for item in stage["fields"]:
            sizes = unrolled(item["elements"])
            self.must(len(sizes) == parts, f"{name}: {item['name']} has {len(sizes)} sizes")
            for tile, size in zip(homes, sizes, strict=False):
                self.found.tiles[KINDS[item["role"]]][tile] += whole(size * WIDTHS[item["type"]])

    def region(self, value: Json) -> int:
        """Bytes of a part."""
        return int(self.machine["batch"] * value["unit"] * WIDTHS[value["type"]])

    def value(self, value: Json, stage: Json) -> None:
        name, per, form = value["name"], value["per"], value["form"]
        self.must(per == stage["per"] and value["size"] == stage["size"], f"{name}: cut otherwise")
        units = {"lists": 2 + per - per % 2, "bits": math.ceil(per / 32), "values": per}
        self.must(value["unit"] == units[form], f"{name}: unit")
        width = value["size"] if form == "values" else stage["parts"] * value["unit"]
        self.must(value["width"] == width, f"{name}: width")
        if form == "lists":
            self.must(value["size"] < 2**16, f"{name}: lists cannot name its elements")

    def gathering(self, one: Json) -> None:
        """A value that a few tiles put together first."""
        name, each = one["value"], one["each"]
        homes, size = self.homes[name], self.region(self.values[name])
        tiles = [tile + n for tile, count in one["tiles"] for n in range(count)]
        self.must(len(tiles) == len(set(tiles)), f"{name}: gathered twice on a tile")
        self.must(len(tiles) == math.ceil(len(homes) / each), f"{name}: not all is gathered")
        images = [image for image in self.plan["images"] if image["value"] == name]
        self.must(one["times"] == len(images), f"{name}: gathered for other images")
        received, between = [], 0
        for n, tile in enumerate(tiles):
            parts = homes[n * each : (n + 1) * each]
            self.found.tiles["gathered"][tile] += whole(len(parts) * size)
            received.append(size * sum(home != tile for home in parts))
            per_ipu = self.machine["tiles_per_ipu"]
            between += size * sum(home // per_ipu != tile // per_ipu for home in parts)
        self.senders[name] = [tiles[part // each] for part in range(len(homes))]
        self.found.gathered += [(sum(received), max(received), between)] * one["times"]
        self.again += one["times"] * sum(received)
        self.again_far += one["times"] * between
        self.must(one["received"] == sum(received), f"{name}: gathered bytes")
        self.must(one["received_most"] == max(received), f"{name}: gathered by the busiest")
        self.must(one["between_ipus"] == between, f"{name}: gathered between IPUs")

    # --- Images ----------------------------------------------------------------------------------

    def image(self, image: Json) -> None:
        name, key = image["value"], (image["value"], image["late"])
        value, homes = self.values[name], self.senders[name]
        size = self.machine["batch"] * WIDTHS[value["type"]]
        windows = list(self.windows(image))
        tiles = [tile for tile, _, _ in windows]
        self.must(tiles == sorted(set(tiles)), f"{name}: a tile has two windows")
        received: dict[int, int] = {}
        for tile, low, high in windows:
            if not 0 <= low < high <= value["width"]:
                self.wrong(f"{name}: no such items")
                continue
            self.found.tiles["images"][tile] += whole((high - low) * size)
            away = sum(homes[n // value["unit"]] != tile for n in range(low, high))
            received[tile] = away * size
        self.found.received[key] = received
        per_ipu = self.machine["tiles_per_ipu"]
        needed: dict[int, set[int]] = {}
        for tile, low, high in windows:
            if tile not in received:
                continue
            needed.setdefault(tile // per_ipu, set()).update(range(low, high))
        self.found.between[key] = size * sum(
            homes[n // value["unit"]] // per_ipu != ipu for ipu, ns in needed.items() for n in ns
        )
        self.must(image["received"] == sum(received.values()), f"{name}: received")
        self.must(
            image["received_most"] == max(received.values(), default=0), f"{name}: received_most"
        )
        self.must(image["between_ipus"] == self.found.between[key], f"{name}: between_ipus")

    @staticmethod
    def windows(image: Json) -> Iterator[tuple[int, int, int]]:
        for tile, count, low, high in image["windows"]:
            for n in range(count):
                yield tile + n, low, high

    def reads(self, stage: Json) -> None:
        """What is read is there: on the tile, or in an image that was sent before."""
        homes = self.homes[stage["results"][0]]
        for read in stage["reads"]:
            where = f"{stage['name']} reads {read['value']}"
            source = self.stage_of[read["value"]]
            if read["local"]:
                self.must(self.homes[read["value"]] == homes, f"{where} elsewhere")
                self.must(source["per"] == stage["per"], f"{where} in other parts")
                continue
            images = [i for i in self.plan["images"]
                      if (i["value"], i["late"]) == (read["value"], read["late"])]  # fmt: skip
            self.must(len(images) == 1, f"{where} without an image")
            for image in images:
                there = {tile for tile, _, _ in self.windows(image)}
                self.must(set(homes) <= there, f"{where} on a tile without it")
                late = read["late"] or source["kind"] == "delay"
                self.must(image["level"] <= stage["level"], f"{where} before it is sent")
                self.must(late or image["level"] > source["level"], f"{where} before it is made")

    # --- Sums ------------------------------------------------------------------------------------

    def sums(self) -> None:
        memory, found = self.plan["memory"], self.found
        for kind, each in found.tiles.items():
            self.must(unrolled(memory["tiles"][kind]) == each, f"memory of {kind}")
            self.must(memory["kinds"][kind] == sum(each), f"sum of {kind}")
        totals = [found.bytes_of(tile) for tile in range(self.count)]
        self.must(memory["total"] == sum(totals), "total")
        self.must(memory["fullest"] == max(totals), "fullest")
        usable = self.machine["usable_bytes_per_tile"]
        self.must(
            usable <= self.machine["bytes_per_tile"] * (1 - self.machine["reserve"]), "usable"
        )
        self.must(max(totals) <= usable, f"a tile of {usable} bytes has {max(totals)}")
        received = self.again + sum(sum(each.values()) for each in found.received.values())
        self.must(self.plan["exchange"]["received"] == received, "received")
        between = self.again_far + sum(found.between.values())
        self.must(self.plan["exchange"]["between_ipus"] == between, "between IPUs")
        levels = self.plan["levels"]
        for level in levels:
            parts = sum(level[key] for key in ("exchange", "link", "sync", "compute"))
            self.must(level["total"] == parts, f"level {level['level']}")
        self.must(self.plan["cycles_per_step"] == sum(x["total"] for x in levels), "cycles")


def measured(plan: Json) -> Measured:
    """Return what a plan takes, and every rule that it breaks."""
    return Checker(plan).check()
