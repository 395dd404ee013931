r"""Prompt formats: how one model is asked, and what opens, closes and ends what it writes.

A task knows questions and answers; how they are put to a model depends on the model. There are
four formats:

* **task**: the text of the task itself, worked examples included. Every model reads it;
* **bare**: the same text without worked examples, for models that were tuned on bare questions;
* **chat**: the user's turn of the tokenizer's chat template. The chain is what the model writes
  before it states its answer;
* **think**: a chat in which the chain stands between ``<think>`` and ``</think>``.

`find_prompt_format` chooses *think* or *chat* from the chat template, and *task* where there is
none, and says by what. Some templates open the chain themselves (DeepSeek-R1), others leave it to
the model (Qwen3, which writes an empty block when thinking is off). In chats an answer is asked for
in ``\boxed{}``, as the model cards of DeepSeek-R1 and Qwen3 advise for mathematics.

`interp.tasks.presentation` puts a task into the format of a model.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

FormatName = Literal["task", "bare", "chat", "think"]
FORMATS: tuple[FormatName, ...] = get_args(FormatName)
OPEN, CLOSE = "<think>", "</think>"
THINKING_TOKENS = 2048
"""Token budget of a chain between think tags, unless a format names another."""
_MARK = "wxyzzyxw"  # stands in no template


@dataclass(frozen=True)
class PromptFormat:
    """How one model is asked. All texts may be changed with `dataclasses.replace`."""

    name: FormatName = "task"
    account: str = "the text of the task, as it is"
    """By what it was found, for the reader of a report."""
    instruction: str = "Please reason step by step, and put your final answer within \\boxed{}."
    """Stands after the question of a chat."""
    think_open: str = ""
    """What the model writes to open its chain; empty where its template does so, or nobody. In the
    format *task* it takes the place of the task's own tag, where it is given; so does the next."""
    think_close: str = ""
    answer_cue: str = "\n\nThe final answer is \\boxed"
    """Asks for an answer in a chat. It ends where a token ends, so the brace is `answer_open`."""
    answer_open: str = "{"
    answer_end: str = "}"
    turn_end: str = ""
    """The token that ends the model's turn; empty where the template writes none."""
    max_chain_tokens: int | None = None
    """Token budget of a chain; None for that of the task, or `THINKING_TOKENS` if larger and the
    format is *think*."""
    temperature: float = 0.0
    """At which chains and answers are written; 0 takes the likeliest token."""
    top_p: float = 1.0
    """Share of the probability that is drawn from (nucleus sampling); 1 is all."""

    @property
    def changes(self) -> dict[str, Any]:
        """Fields that differ from those of a text asked as it is and answered greedily."""
        plain = PromptFormat()
        pairs = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: v for k, v in pairs.items() if k != "account" and v != getattr(plain, k)}

    @property
    def words(self) -> str:
        """The format in words, with the account of how it was found."""
        limit = self.max_chain_tokens
        parts = [
            f"in the format {self.name!r} ({self.account})",
            *([f"chains of at most {limit} tokens"] if limit else []),
            *([f"sampled at temperature {self.temperature:g}"] if self.temperature else []),
            *([f"from the likeliest {self.top_p:.0%}"] if self.top_p < 1 else []),
        ]
        return ", ".join(parts)


def find_prompt_format(tokenizer: Any, name: str | None = None) -> PromptFormat:
    """The prompt format that a tokenizer tells, or the one of a name.

    Args:
        tokenizer: Of the model.
        name: One of `FORMATS`; None to have it chosen.

    Raises:
        ValueError: The name is unknown, or the tokenizer has no chat template for it.
    """
    if name is not None and name not in FORMATS:
        raise ValueError(f"unknown prompt format {name!r}; known: {', '.join(FORMATS)}")
    template = getattr(tokenizer, "chat_template", None)
    if name == "bare":
        return PromptFormat("bare", "chosen: the task's question without worked examples")
    if name == "task" or (name is None and not template):
        why = "chosen" if name else "the tokenizer has no chat template"
        return PromptFormat("task", f"{why}: the text of the task, as it is")
    if not template:
        raise ValueError(
            f"the format {name!r} needs a chat template, and this tokenizer has none. Take 'task' "
            "or 'bare', or give the tokenizer the template of the model it was tuned with"
        )
    asked = render_turn(tokenizer, "", thinks=True).rstrip()
    opens = asked.endswith(OPEN)
    thinks = opens or "enable_thinking" in str(template)
    if name == "chat" or (name is None and not thinks):
        return _chat(tokenizer, "chosen" if name else "chat template without thinking")
    how = "its template opens the chain" if opens else "the model opens the chain"
    found = _chat(tokenizer, f"{'chosen' if name else 'chat template with think tags'}; {how}")
    return replace(
        found,
        name="think",
        think_open="" if opens else f"{OPEN}\n",
        think_close=f"\n{CLOSE}\n\n",
        answer_cue=found.answer_cue.lstrip(),
    )


def render_turn(tokenizer: Any, message: str, *, thinks: bool) -> str:
    """The text up to where the model begins to write its turn.

    Args:
        tokenizer: With a chat template.
        message: What the user says.
        thinks: Given to templates that can switch thinking off.

    Raises:
        ValueError: The template cannot be rendered.
    """
    return _render(
        tokenizer, [{"role": "user", "content": message}], enable_thinking=thinks, opens=True
    )


def find_ends(tokenizer: Any, form: PromptFormat, *configs: Any) -> tuple[int, ...]:
    """The tokens that end a text: those of tokenizer, configurations and prompt format, in order.

    Args:
        tokenizer: Of the model.
        form: How it is asked.
        configs: With one end token, several or none in ``eos_token_id``.
    """
    found: list[Any] = [tokenizer.eos_token_id]
    for config in configs:
        named: Any = getattr(config, "eos_token_id", None)
        found += named if isinstance(named, list | tuple) else [named]
    if form.turn_end:
        found.append(tokenizer.convert_tokens_to_ids(form.turn_end))
    return tuple(dict.fromkeys(int(token) for token in found if token is not None))


def _chat(tokenizer: Any, account: str) -> PromptFormat:
    return PromptFormat("chat", account, turn_end=_find_turn_end(tokenizer))


def _find_turn_end(tokenizer: Any) -> str:
    """The first added token after what an assistant says."""
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
    text = _render(tokenizer, turns, enable_thinking=False, opens=False)
    rest = text.partition(_MARK)[2]
    added = [str(token) for token in tokenizer.added_tokens_decoder.values() if str(token) in rest]
    return min(added, key=rest.index, default="")


def _render(tokenizer: Any, turns: list[dict[str, str]], *, opens: bool, **options: Any) -> str:
    try:
        return tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=opens, **options
        )
    except Exception as error:  # a template is a program of its own, and may raise anything
        raise ValueError(
            f"the chat template of this tokenizer cannot be rendered: {error}. Take another format "
            "(--base-format or --post-format task), or mend the template"
        ) from error
