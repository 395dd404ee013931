"""What `posthoc audit` does where it is given several seeds of each side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from probes.cli.console import echo, name_folder
from probes.cli.loading import Loading


def run_seeds(
    pairs: Sequence[Any],
    settings: Any,
    out: Path | None,
    load: Loading,
) -> None:
    """Audits each pair and prints the verdict over seeds.

    Args:
        pairs: From `probes.seeds.names.pair_up`.
        settings: Of each audit (`AuditSettings`).
        out: Run folder; named after the models where none is given.
        load: Makes a model of its name and role.
    """
    from probes.seeds.run import audit_seeds

    names = [name for pair in pairs for name in pair]
    folder = out or name_folder(names, settings, load.decides)
    done = audit_seeds(pairs, settings, folder, load=load)
    lines = (f"  {line}" for line in done.verdict.lines)
    echo([done.verdict.headline, *lines, f"Report: {done.report}"])
