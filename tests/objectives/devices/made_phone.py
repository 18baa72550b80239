"""A folder that stands in for phones behind an `adb` of its own: the seam is the client's path in a device's entry."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OUTPUTS = HERE.parents[1] / "data" / "benchmark_model"

PROPERTIES = {
    "ro.product.manufacturer": "Maker",
    "ro.product.model": "Phone 8",
    "ro.soc.model": "Tensor G3",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.build.version.sdk": "34",
    "ro.build.fingerprint": "maker/husky/husky:14/UQ1A:user/release-keys",
}
DELEGATES = ("none", "xnnpack", "gpu", "nnapi", "external")


class MadePhone:
    """Phones whose commands are scripts, and whose `benchmark_model` replays documented outputs.

    Args:
        folder: Where they are made.
        serials: One phone each; they share their files.
    """

    def __init__(self, folder: Path, serials: tuple[str, ...] = ("28151FDH",)) -> None:
        self.folder = folder
        self.temporary = folder / "root" / "data" / "local" / "tmp"
        for path in (folder / "bin", self.temporary / "replay", folder / "thermal"):
            path.mkdir(parents=True)
        self.adb = str(self._script(folder / "adb", f'exec {sys.executable} -S {HERE}/stand_in_adb.py {folder} "$@"'))
        # The tool finds what it replays beside the place it was pushed to.
        tool = (HERE / "stand_in_benchmark_model.py").read_text(encoding="utf-8")
        self.benchmark_model = folder / "benchmark_model"
        self.benchmark_model.write_text(f"#!{sys.executable} -S\n{tool}", encoding="utf-8")
        self.attach(dict.fromkeys(serials, "device"))
        self._commands()
        cpu = folder / "root" / "sys" / "devices" / "system" / "cpu"
        (cpu / "cpu0" / "cache" / "index3").mkdir(parents=True)
        (cpu / "possible").write_text("0-7\n", encoding="ascii")
        (cpu / "cpu0" / "cache" / "index3" / "size").write_text("4096K\n", encoding="ascii")
        for delegate in DELEGATES:
            self.replay(delegate, delegate)

    def settings(self, **changes: Any) -> dict[str, Any]:
        """What an `AndroidDevice` on it is made from."""
        made = {
            "power": "x86-host-1",
            "adb": self.adb,
            "benchmark_model": str(self.benchmark_model),
            "cool_down_s": 0.2,
        }
        return made | changes

    def attach(self, states: dict[str, str]) -> None:
        """What `adb devices` lists: state by serial."""
        listed = "".join(f"{serial} {state}\n" for serial, state in states.items())
        (self.folder / "states.txt").write_text(listed, encoding="ascii")

    def replay(self, delegate: str, output: str, code: int = 0) -> None:
        """Has the tool print one of the documented outputs for a delegate; a negative code is a signal."""
        shutil.copyfile(OUTPUTS / f"{output}.txt", self.temporary / "replay" / f"{delegate}.txt")
        (self.temporary / "replay" / f"{delegate}.code").write_text(str(code), encoding="ascii")

    def go_wrong(self, match: str, says: str, *, skip: int = 0, times: int = 1, **fault: Any) -> None:
        """Has the client fail, see `stand_in_adb`."""
        fault |= {"match": match, "says": says, "skip": skip, "times": times}
        (self.folder / "fault.json").write_text(json.dumps(fault), encoding="ascii")

    def warm_up(self, *statuses: int) -> None:
        """The thermal statuses that it tells, one an asking, the last one for ever."""
        for old in (self.folder / "thermal").iterdir():
            old.unlink()
        for number, status in enumerate(statuses):
            (self.folder / "thermal" / f"{number:03}").write_text(
                f"IsStatusOverride: false\nThermal Status: {status}\n"
            )

    def set_property(self, name: str, value: str) -> None:
        """What `getprop` says."""
        (self.folder / "properties" / name).write_text(value, encoding="ascii")

    def calls(self, part: str = "") -> list[str]:
        """The client's calls so far that hold a text."""
        log = self.folder / "calls.log"
        return [line for line in log.read_text().splitlines() if part in line] if log.exists() else []

    def pushed(self) -> list[str]:
        """What is on the phone by its own name there."""
        return sorted(path.name for path in (self.temporary / "litefront").iterdir())

    def _commands(self) -> None:
        (self.folder / "properties").mkdir()
        for name, value in PROPERTIES.items():
            self.set_property(name, value)
        self.warm_up(0)
        bin_, thermal = self.folder / "bin", self.folder / "thermal"
        self._script(bin_ / "getprop", f'cat "{self.folder}/properties/$1"; echo')
        self._script(
            bin_ / "dumpsys",
            f'set -- "{thermal}"/*; cat "$1"; [ $# -gt 1 ] && rm "$1"; exit 0',
        )
        self._script(bin_ / "taskset", 'shift; exec "$@"')
        self._script(bin_ / "cmd", "exit 0")

    @staticmethod
    def _script(path: Path, line: str) -> Path:
        path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        path.chmod(0o755)
        return path
