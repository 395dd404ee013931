"""Attention: which earlier tokens later ones attend to, and the cached states that they read.

- `attention_paths`: the answer under masks that separate prompt, chain and answer;
- `cached_states`: the answer after the cached keys and values of one step were changed;
- `suppression`: later steps when one step is hidden from all of them;
- `receiver_heads`: the heads that attend to certain steps from everywhere after them.
"""

from interp.methods.attention.attention_paths import PATHS, PathRow, path_logprobs
from interp.methods.attention.cached_states import edit_states
from interp.methods.attention.receiver_heads import (
    ReceiverHeads,
    find_receiver_heads,
    kurtosis,
    step_attention,
    vertical_scores,
)
from interp.methods.attention.state_edits import AskedText, StateEdit
from interp.methods.attention.state_readings import (
    RepairRate,
    StateReading,
    StateReceipt,
    repair_rate,
)
from interp.methods.attention.stepped_text import SteppedText, lay_out
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
