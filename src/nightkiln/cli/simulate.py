"""`nightkiln simulate`: run a simulated provider in the foreground.

The options are made from the simulator's table of settings, and only when the command is used:
`nightkiln --help` imports none of it.
"""

from pathlib import Path

import click


class SimulateCommand(click.Command):
    """A command whose options are the simulator's settings."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own options first, then one per setting, then --help."""
        own = super().get_params(ctx)
        if any(param.name == "latency" for param in self.params):
            return own
        self.params.extend(_settings_options())
        return super().get_params(ctx)


@click.command(cls=SimulateCommand)
@click.option("--port", type=click.IntRange(0, 65535), default=8077, show_default=True)
@click.option(
    "--tls",
    "tls_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Serve https with cert.pem and key.pem of this folder.",
)
def simulate(port: int, tls_dir: Path | None, **values: str | float) -> None:
    """Run a simulated OpenAI-compatible provider to plan and test with.

    It prints its base URL once it is ready and serves until Ctrl-C. Distributions are written
    const:50, uniform:20,80, lognormal:MEDIAN,SIGMA, exp:MEAN or bimodal:A,B,SHARE_OF_B.

    Everything may be changed while it runs: POST /_ctl/config {"p500": 0.02}. Counts are at
    /_ctl/stats and /_ctl/prompts; POST /_ctl/reset clears them. A prompt that contains
    __poison__ always gets a 400.
    """
    from nightkiln.core.errors import UsageError
    from nightkiln.simulate import SimulatorSettings, run_simulator

    try:
        settings = SimulatorSettings().changed(values)
        run_simulator(settings, port=port, tls_dir=tls_dir, on_ready=click.echo)
    except UsageError as error:
        raise click.UsageError("\n".join(filter(None, (error.message, error.hint)))) from error


def _settings_options() -> list[click.Parameter]:
    from nightkiln.simulate.settings import SETTINGS

    options: list[click.Parameter] = []
    for setting in SETTINGS:
        kind: type = type(setting.default)
        options.append(
            click.Option(
                [setting.flag, setting.name],
                type=kind,
                default=setting.default,
                show_default=bool(str(setting.default)),
                metavar="DISTRIBUTION" if setting.is_distribution else None,
                help=setting.description,
            )
        )
    return options
