"""`python -m comparison`: paxoskv beside other systems, measured and told."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple

import click

from comparison import prediction, report, runner
from comparison.results import Results
from comparison.runner import Plan
from comparison.scenarios import ALL as SCENARIOS
from comparison.scenarios.contract import Pace
from comparison.systems import ALL as SYSTEMS
from comparison.systems.contract import BUILD

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "results" / "results.json"
_QUICK_SCENARIOS: Final = ("throughput", "failure", "hot-key")
PARTIAL, NOTHING, INTERRUPTED = 1, 3, 130


class Names(click.ParamType[tuple[str, ...]]):
    """Names separated by commas, each one of those that are known."""

    name = "names"

    def __init__(self, known: list[str]) -> None:
        self.known = known

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        names = tuple(part.strip() for part in str(value).split(",") if part.strip())
        for name in names:
            if name not in self.known:
                self.fail(f"{name!r} is none of {', '.join(self.known)}", param, ctx)
        return names


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", type=Names(list(SYSTEMS)), metavar="SYSTEM,...", help=f"Of {', '.join(SYSTEMS)}.")
@click.option(
    "--scenario", "scenarios", type=Names(list(SCENARIOS)), metavar="NAME,...", help=f"Of {', '.join(SCENARIOS)}."
)
@click.option(
    "--quick", is_flag=True, help="An answer in about five minutes: fewer scenarios and points, shorter, once."
)
@click.option(
    "--repeat", type=click.IntRange(1), metavar="N", help="How often each is measured.  [default: 3; 1 if quick]"
)
@click.option(
    "--seconds", type=click.FloatRange(0.1), metavar="S", help="Of one measurement.  [default: 2; 1 if quick]"
)
@click.option(
    "--minutes",
    type=click.FloatRange(0.0),
    metavar="M",
    help="Begin no turn after that.  [default: never stop]",
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=BUILD,
    help="Where nodes keep their data for the while: the disk that is measured.  [default: comparison/.build]",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=RESULTS,
    help="The file of raw results.  [default: comparison/results/results.json, and the README is written from it]",
)
@click.option("--render", is_flag=True, help="Measure nothing: write README and plots again from --out.")
@click.option(
    "--predict",
    is_flag=True,
    help="Measure nothing: calibrate the model of more machines from --out, which takes minutes, and write again.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the run that --out has a part of, as it was asked for: take the turns that were skipped, "
    "interrupted or failed, and of those that were not, what their scenario did not measure then.",
)
@click.option(
    "--again",
    is_flag=True,
    help="With --resume and --scenario: measure these scenarios again, with all systems, in place of what they have. "
    "The page says which are from when. Goes on with --resume alone if it is interrupted.",
)
def main(
    only: tuple[str, ...] | None,
    scenarios: tuple[str, ...] | None,
    quick: bool,
    repeat: int | None,
    seconds: float | None,
    minutes: float | None,
    folder: Path,
    out: Path,
    render: bool,
    predict: bool,
    resume: bool,
    again: bool,
) -> None:
    """Measure paxoskv beside other systems on this machine, and write what came of it.

    \b
    Examples:
        python -m comparison                                  # everything, three times
        python -m comparison --quick                          # in about five minutes
        python -m comparison --only leaderless,etcd --scenario failure
        python -m comparison --minutes 30                     # half an hour of it,
        python -m comparison --minutes 30 --resume            # and the next half hour, ...
        python -m comparison --render                         # the README again, from the raw results

    README and plots are written beside the raw results' folder. Ctrl-C ends it early: nodes are stopped, and what was
    measured is kept and marked as incomplete.

    \b
    Exit codes: 0 all was measured, 1 a part failed or there was no time for it, 2 bad usage, 3 nothing was measured,
    130 interrupted.
    """
    if render or predict:
        try:
            found = Results.load(out)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        if predict:
            _predict(found, out)
        _write(found, out)
        return
    if again and (not resume or not scenarios or only):
        raise click.UsageError("--again goes with --resume and --scenario, and is for all systems, so not with --only")
    try:
        before = asked_before(out) if resume and out.exists() else asked_by_default(quick)
        names = scenarios or before.scenarios
        plan = Plan(
            [SYSTEMS[name] for name in only or before.systems],
            [SCENARIOS[name] for name in SCENARIOS if name in names],
            repeat or before.repeats,
            Pace(seconds or before.pace.seconds, quick or before.pace.quick),
            out.absolute(),
            folder.absolute(),
            minutes,
            resume,
            again,
        )
        signal.signal(signal.SIGTERM, _interrupt)
        interrupted = False
        found = runner.run(plan, _say)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except KeyboardInterrupt:
        interrupted = True
        click.echo(f"interrupted; what was measured is in {out}", err=True)
        if not out.exists():
            raise SystemExit(INTERRUPTED) from None
        found = Results.load(out)
    if found.records:
        if not interrupted and found.systems("more-nodes") and not found.predictions and not plan.pace.quick:
            _predict(found, out)
        _write(found, out)
    raise SystemExit(_code(found, interrupted))


class Asked(NamedTuple):
    """What is measured where the command line does not say."""

    systems: Sequence[str]
    scenarios: Sequence[str]
    repeats: int
    pace: Pace


def asked_by_default(quick: bool) -> Asked:
    """Without --resume."""
    if quick:
        names = [name for name, kind in SYSTEMS.items() if kind.quick]
        return Asked(names, _QUICK_SCENARIOS, 1, Pace(1.0, quick=True))
    return Asked(list(SYSTEMS), list(SCENARIOS), 3, Pace())


def asked_before(out: Path) -> Asked:
    """What the run was asked for that is to be gone on with. Raises ValueError when it cannot be told."""
    found = Results.load(out)
    options = found.about["options"]
    systems = [name for name in SYSTEMS if name in found.about["systems"] or name in found.left_out]
    return Asked(systems, options["scenarios"], options["repeats"], Pace(options["seconds"], options["quick"]))


def _code(found: Results, interrupted: bool) -> int:
    if interrupted:
        return INTERRUPTED
    for failure in found.failures:
        click.echo(f"failed: {failure['scenario']}, {failure['system']}: {failure['text']}", err=True)
    if found.skipped:
        click.echo(f"{len(found.skipped)} turns are left; --resume takes them", err=True)
    if not found.records:
        click.echo("nothing was measured", err=True)
        return NOTHING
    return 0 if found.complete else PARTIAL


def _predict(found: Results, out: Path) -> None:
    try:
        found.predictions = prediction.predict(found, _say)
    except ImportError as error:
        click.echo(f"no predictions: {error}; pip install '.[compare]', then --predict", err=True)
        return
    found.save(out)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _write(found: Results, out: Path) -> None:
    folder = out.absolute().parent.parent if out.absolute().parent.name == "results" else out.absolute().parent
    try:
        written = report.write(found, out.absolute(), folder)
    except ImportError as error:
        click.echo(f"no plots and no README: {error}; pip install '.[compare]', then --render", err=True)
        return
    click.echo(f"wrote {written[0]} and {len(written) - 1} plots", err=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
