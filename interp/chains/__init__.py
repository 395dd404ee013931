"""Chains of thought: steps, edits, traces, completions, and the answers that follow them."""
