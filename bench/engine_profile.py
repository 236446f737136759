"""Which functions a scenario of the engine spends its time in: `python -m bench.engine_profile "put, key held" 64`.

cProfile makes calls dear, so that what calls much looks worse than it is; the order is of use, the times are not.
"""

import cProfile
import pstats

import click

from bench import engine, measuring

_SWEEPS = 4
_FUNCTIONS = 20


@click.command(help=__doc__)
@click.argument("scenario", type=click.Choice(list(engine.SCENARIOS)), default="put, key held")
@click.argument("batch", type=click.IntRange(min=1), default=64)
def main(scenario: str, batch: int) -> None:
    measuring.tune_collector()
    sweep = engine.Sweep(scenario, batch, engine.OPERATIONS, packed=True)
    profiler = cProfile.Profile()
    for _ in range(_SWEEPS):
        profiler.runcall(sweep)
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(_FUNCTIONS)


if __name__ == "__main__":
    main()
