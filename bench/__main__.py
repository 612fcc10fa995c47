"""`python -m bench [SECTION …] [--quick] [--json FILE]`: measure, show, and say what misses its goal."""

from __future__ import annotations

import argparse
import importlib
import tempfile
import time
from pathlib import Path

import msgspec

from bench.figures import Sheet
from bench.setup import Setup, machine


class Section(msgspec.Struct, frozen=True):
    title: str
    module: str
    function: str = "measure"


SECTIONS = {
    "throughput": Section("Tasks through the plain dialect: accepted, done, durable", "bench.throughput"),
    "mcp": Section("Tasks through the MCP door, beside the bare SDK with an empty tool", "bench.mcp_calls"),
    "start": Section("Start of the daemon", "bench.starting", "measure_start"),
    "cli": Section("Command line, cold", "bench.commands"),
    "idle": Section("Idle", "bench.idle"),
    "store": Section("The event log alone, one writer", "bench.storing"),
    "stdio": Section("Tasks done by an MCP server over stdio", "bench.stdio"),
    "port": Section("Model calls through the model port, beside the upstream itself", "bench.port"),
    "back": Section("Looking back on a long log, each command in a process of its own", "bench.looking_back"),
    "restart": Section("Restart on a long log, and replay", "bench.starting", "measure_restart"),
}


def main() -> int:
    """Run the sections that were asked for; 1 when a goal is missed and --strict was given."""
    asked = _arguments()
    sheet = Sheet()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="omni-bench-", dir=asked.dir) as home:
        facts = machine(Path(home))
        for name, value in facts.items():
            print(f"  {name:<24} {value}")
        setup = Setup(Path(home), asked.quick)
        for name in asked.sections or SECTIONS:
            sheet.begin(name, SECTIONS[name].title)
            if time.perf_counter() - began < setup.budget_s:
                _run(SECTIONS[name], setup, sheet)
            else:
                sheet.skip(f"the {setup.budget_s:g} s were over; python -m bench {name} measures it alone")
    missed = sheet.missed
    print(f"\n{len(missed)} goal(s) missed; {time.perf_counter() - began:.0f} s")
    for each in missed:
        print(f"  {each.section}: {each.what}: {each.value:g} {each.unit}, goal {each.goal}")
    if asked.json:
        sheet.save(asked.json, facts)
    return 1 if missed and asked.strict else 0


def _run(section: Section, setup: Setup, sheet: Sheet) -> None:
    try:
        getattr(importlib.import_module(section.module), section.function)(setup, sheet)
    except Exception as error:  # one section that fails must not cost the others
        sheet.skip(f"{type(error).__name__}: {error}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the speed of this machine's Omni.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"all, or some of: {', '.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help="within a minute, with fewer and shorter rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    parser.add_argument("--dir", type=Path, metavar="DIR", help="where scratch data goes: the disk that is measured")
    parser.add_argument("--strict", action="store_true", help="end with 1 when a goal is missed")
    asked = parser.parse_args()
    unknown = [each for each in asked.sections if each not in SECTIONS]
    if unknown:
        parser.error(f"no such section: {', '.join(unknown)}; there are: {', '.join(SECTIONS)}")
    return asked


if __name__ == "__main__":
    raise SystemExit(main())
