"""What `posthoc audit` does where it is given several seeds of each side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from probes.cli.console import echo, name_folder


def run_seeds(
    pairs: Sequence[Any], settings: Any, out: Path | None, device: str, dtype: str
) -> None:
    """Audits each pair and prints the verdict over seeds.

    Args:
        pairs: From `probes.seeds.names.pair_up`.
        settings: Of each audit (`AuditSettings`).
        out: Run folder; named after the models where none is given.
        device: A torch device.
        dtype: A torch floating type by name.
    """
    from probes.model_names import find_model
    from probes.seeds.run import audit_seeds

    names = [name for pair in pairs for name in pair]
    load = partial(find_model, device=device, dtype=dtype)
    done = audit_seeds(pairs, settings, out or name_folder(names, settings, dtype), load=load)
    lines = (f"  {line}" for line in done.verdict.lines)
    echo([done.verdict.headline, *lines, f"Report: {done.report}"])
