"""`posthoc`, or `python -m probes`."""

from __future__ import annotations

from probes.cli import app


def main() -> None:
    """Entry point of the command `posthoc`."""
    app()


if __name__ == "__main__":
    main()
