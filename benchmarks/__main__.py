"""``python -m benchmarks``: measures, and writes tables, JSON and plots."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from . import machine
from .bench import Bench, Settings
from .contenders import CONTENDERS
from .crew import Crew
from .environments import python_of
from .page import rewrite
from .plots import draw
from .report import parts
from .results import Results
from .scenarios import NAMES, scenario_of
from .server import pinned_server
from .table import markdown

console = Console()


class Incomplete(Exception):
    """A contender is not installed."""


def main() -> int:
    """Run what the command line asks for."""
    arguments = _parsed(sys.argv[1:])
    try:
        results = Results.load(*arguments.again) if arguments.again else _measured(arguments)
    except Incomplete as error:
        console.print(f"{error}: pip install -e '.[bench]' has it, and so has make bench", markup=False)
        return 1
    if arguments.json and arguments.again:
        results.save(arguments.json)
    if arguments.plots:
        draw(results, arguments.plots)
    if arguments.page:
        rewrite(arguments.page, parts(results))
        draw(results, arguments.page.with_suffix(""))
    return 0


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="SCENARIO")
    parser.add_argument(
        "--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME"
    )
    parser.add_argument(
        "--rounds", type=int, help="how often each contender runs (each scenario's own number)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="short and small: does it work? Not to be believed"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values there")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw pictures there")
    parser.add_argument("--page", type=Path, help="rewrite its generated parts, and the pictures beside it")
    parser.add_argument(
        "--again", nargs="+", type=Path, metavar="FILE", help="measure nothing: take what --json wrote"
    )
    return parser.parse_args(arguments)


def _measured(arguments: argparse.Namespace) -> Results:
    settings = Settings(arguments.rounds, arguments.quick, tuple(arguments.contenders))
    for environment in {CONTENDERS[name].environment for name in settings.contenders}:
        with console.status(f"preparing the environment {environment}"):
            python_of(environment)
    pinned = machine.can_pin()
    with pinned_server() as server, Crew() as crew, Progress(console=console, transient=True) as progress:
        with server.client() as client:
            about = machine.facts(client.info(), arguments.contenders, pinned=pinned)
        _check(about["versions"])
        results = Results(about)
        bench = Bench(server, crew, settings, results, progress)
        for name in arguments.only:
            bench.scenario = name
            scenario = scenario_of(name)
            scenario.run(bench)
            results.facts["load average at end"] = machine.load()
            if arguments.json:
                results.save(arguments.json)  # now: who loses patience keeps what there is
            console.rule(scenario.TITLE)
            console.print(markdown(results, name, scenario.COLUMNS), soft_wrap=True, markup=False)
    return results


def _check(versions: dict[str, str]) -> None:
    for package, number in versions.items():
        if number == machine.NOT_INSTALLED and package != "hiredis":
            raise Incomplete(f"{package} is not installed")


if __name__ == "__main__":
    sys.exit(main())
