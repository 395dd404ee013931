"""How the models of a command are loaded and asked: the same for all of one role."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

ROLE_FORMATS = {"base": "task", "post": "auto"}
"""Role -> its prompt format where none is named. The tokenizers of base models often carry the chat
template of models that were made from them, so a base is asked with plain text."""


@dataclass(frozen=True)
class Loading:
    """Options of a command, and the models that they give.

    Raises:
        ValueError: An unknown prompt format.
    """

    device: str
    dtype: str
    base_format: str = ROLE_FORMATS["base"]
    post_format: str = ROLE_FORMATS["post"]
    temperature: float = 0.0
    top_p: float = 1.0
    max_chain_tokens: int | None = None

    def __post_init__(self) -> None:
        from probes.model_names import check_format

        check_format(self.base_format)
        check_format(self.post_format)

    def __call__(self, name: str, role: str, base: Any = None) -> Any:
        """Loads a model by its name.

        Args:
            name: Of the model.
            role: base or post.
            base: Over whose weights an adapter is loaded.
        """
        from probes.model_names import find_model

        asked = {"base": self.base_format, "post": self.post_format}[role]
        found = find_model(
            name, device=self.device, dtype=self.dtype, base=base, prompt_format=asked
        )
        form = replace(
            found.prompt_format, temperature=self.temperature, top_p=self.top_p,
            max_chain_tokens=self.max_chain_tokens,
        )  # fmt: skip
        return replace(found, prompt_format=form)

    @property
    def decides(self) -> dict[str, Any]:
        """What decides the numbers of a run: all but the device."""
        return {name: value for name, value in asdict(self).items() if name != "device"}
