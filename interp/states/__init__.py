"""States: what later tokens may look at, and what they find there.

Attention paths between prompt, chain and answer (`paths`); the cached keys and values of one step
(`kv`); one step hidden from all later ones (`suppression`); the heads that look back at certain
steps (`heads`).
"""

from interp.states.edits import AskedText, StateEdit
from interp.states.heads import (
    ReceiverHeads,
    find_receiver_heads,
    kurtosis,
    step_attention,
    vertical_scores,
)
from interp.states.kv import edit_states
from interp.states.paths import PATHS, PathRow, path_logprobs
from interp.states.readings import RepairRate, StateReading, StateReceipt, repair_rate
from interp.states.spans import SteppedText, lay_out
from interp.states.suppression import Suppression, suppress_steps

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
