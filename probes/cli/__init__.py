"""The command line. Everything heavy is imported inside the commands, so that help answers fast."""

import typer

from probes.cli import check, organisms, runs, steering
from probes.cli.console import ExplainedGroup

app = typer.Typer(
    cls=ExplainedGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # help without rich: a third of the time
    pretty_exceptions_enable=False,
    help="Was the reasoning already in the base model, and does the written reasoning cause the "
    "answer?",
)
app.command()(runs.audit)
app.command()(runs.probe)
for name in runs.SHORT:
    app.command(name)(runs.short_command(name))
app.command()(check.check)
app.command()(steering.steer)
app.command()(runs.report)
app.command("list")(runs.list_names)
app.command("check-probe")(runs.check_probe)
app.add_typer(organisms.zoo, name="organisms")
for command in (
    organisms.train,
    organisms.certify,
    organisms.sae,
    organisms.calibrate,
    organisms.predict,
):
    app.command()(command)
