"""What the commands share: options with their help, and errors as one message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from interp.errors import is_about_input, one_line

Model = Annotated[str, typer.Argument(help="Bundled organism, folder or hub id.")]
Posts = Annotated[
    list[str] | None, typer.Argument(help="The same model after post-training, if there is one.")
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        help="Task name, or a file of questions (.jsonl, .csv, .parquet); repeatable (organisms "
        "have a default).",
    ),
]
SweepTask = Annotated[
    str | None,
    typer.Option(
        "--task", help="Task of the sweep, or a file of questions (organisms have a default)."
    ),
]
Grader = Annotated[
    str | None,
    typer.Option(
        help="How answers to the questions of a file are compared: math, text, labels or choices "
        "(default: by the gold answers)."
    ),
]
Count = Annotated[int | None, typer.Option("--n", min=1, help="Examples (default: the probe's).")]
N = Annotated[int, typer.Option("--n", min=1, help="Examples of each task.")]
Seed = Annotated[
    int, typer.Option(min=0, max=2**32 - 1, help="Seed of examples, edits and bootstrap.")
]
Out = Annotated[
    Path | None, typer.Option(help="Run folder (default: runs/ and the names of models and probe).")
]
Data = Annotated[str | None, typer.Option(help="Folder of downloaded data sets.")]
Device = Annotated[str, typer.Option(help="Torch device, or auto: spread over all.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16 or float16.")]
Writers = Annotated[
    list[str] | None,
    typer.Option(
        "--writer",
        help="Whose chains: gold, base, post or a writer of --traces; repeatable (default: those "
        "of the probe, or all three).",
    ),
]
Traces = Annotated[
    list[str] | None,
    typer.Option(
        "--traces",
        help="Chains written elsewhere, as FILE or WRITER=FILE; repeatable. Lines of this project, "
        "chats (OpenAI, vLLM), logs of inspect_ai, samples of lm-evaluation-harness, "
        "BIG-Bench-Mistake, folders of Thought Anchors.",
    ),
]
BaseFormat = Annotated[
    str,
    typer.Option(
        "--base-format",
        help="How the base is asked: task (its few-shot text), bare (without worked examples), "
        "chat, think (a chat whose chain stands between think tags), or auto: by its tokenizer.",
    ),
]
PostFormat = Annotated[
    str, typer.Option("--post-format", help="The same for the post-trained model.")
]
Temperature = Annotated[
    float, typer.Option(min=0, help="Of the chains and answers that models write; 0 is greedy.")
]
TopP = Annotated[
    float, typer.Option("--top-p", help="Share of the probability that is drawn from, 0 to 1.")
]
Samples = Annotated[int, typer.Option(min=1, help="Texts drawn for each problem.")]
MaxChainTokens = Annotated[
    int | None,
    typer.Option("--max-chain-tokens", min=1, help="Longest chain (default: the task's)."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the probe, as field=value; repeatable."),
]
Names = Annotated[
    list[str] | None, typer.Argument(help="Organisms, as name or name:seed (default: all).")
]
Root = Annotated[
    Path | None, typer.Option(help="Folder of organisms (default: those that are bundled).")
]
Workers = Annotated[int, typer.Option(min=1, help="Processes, one thread each.")]
Show = Annotated[Path | None, typer.Option(help="Measure nothing: print the table of this file.")]


class ExplainedGroup(typer.core.TyperGroup):
    """Commands whose errors about the input are one line and exit status 2; others stay as raised.

    A mistake in this code shows its traceback, since no user can act on it.
    """

    def invoke(self, ctx: Any) -> Any:
        """Runs the command that was named."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # a reader such as `head` has enough; typer ends quietly
            raise
        except Exception as error:  # `typer.Exit` is no error about the input, and passes
            if not is_about_input(error):
                raise
            typer.echo(f"posthoc: {one_line(error)}", err=True)
            raise typer.Exit(2) from None


def echo(lines: Iterable[object]) -> None:
    """Prints lines."""
    for line in lines:
        typer.echo(line)


def name_folder(names: Sequence[str], *asked: object) -> Path:
    """The folder of a run: the last part of each name, and a checksum of everything.

    Two runs share a folder only if they are the same run, so that a stopped one is taken up again.

    Args:
        names: Of models and of what is measured.
        asked: All other settings.
    """
    parts = ("".join(c if c.isalnum() else "-" for c in Path(name).name) for name in names)
    checksum = sha256(repr((tuple(names), asked)).encode()).hexdigest()[:6]
    return Path("runs") / f"{'-'.join(parts)}-{checksum}"
