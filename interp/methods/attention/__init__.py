"""States: what later tokens may look at, and what they find there.

Attention paths between prompt, chain and answer (`paths`); the cached keys and values of one step
(`kv`); one step hidden from all later ones (`suppression`); the heads that look back at certain
steps (`heads`).
"""

from interp.methods.attention.edits import AskedText, StateEdit
from interp.methods.attention.heads import (
    ReceiverHeads,
    find_receiver_heads,
    kurtosis,
    step_attention,
    vertical_scores,
)
from interp.methods.attention.kv import edit_states
from interp.methods.attention.paths import PATHS, PathRow, path_logprobs
from interp.methods.attention.readings import RepairRate, StateReading, StateReceipt, repair_rate
from interp.methods.attention.spans import SteppedText, lay_out
from interp.methods.attention.suppression import Suppression, suppress_steps

__all__ = [
    "PATHS",
    "AskedText",
    "PathRow",
    "ReceiverHeads",
    "RepairRate",
    "StateEdit",
    "StateReading",
    "StateReceipt",
    "SteppedText",
    "Suppression",
    "edit_states",
    "find_receiver_heads",
    "kurtosis",
    "lay_out",
    "path_logprobs",
    "repair_rate",
    "step_attention",
    "suppress_steps",
    "vertical_scores",
]
