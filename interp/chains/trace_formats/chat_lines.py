"""Chats as JSON lines, in the form of the OpenAI interface, which vLLM and others write too.

A line is a conversation, or one line of a batch output::

    {"custom_id": "gsm8k:7", "messages": [{"role": "user", "content": "Janet has ..."},
     {"role": "assistant", "content": "The answer is 18.", "reasoning_content": "First ..."}]}
    {"custom_id": "gsm8k:7", "response": {"body": {"model": "Qwen/Qwen3-8B", "choices":
     [{"message": {"role": "assistant", "content": "..."}, "finish_reason": "stop"}]}}}

The question is the last message of the user; the answer the last of the assistant, or the choices
where there are any. The reasoning is ``reasoning_content`` (``reasoning`` in newer vLLM), or what
stands before ``</think>`` in the content. Several choices are several samples, numbered by `seed`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from interp.chains.text_trace import TextTrace
from interp.chains.trace_formats.fields import (
    check_field,
    last_name,
    object_of,
    objects_of,
    short,
    text_of,
)
from interp.chains.trace_formats.outputs import read_output

REASONING = ("reasoning_content", "reasoning")
CUT = ("length", "max_tokens", "model_length")
"""Reasons to stop that mean the token limit."""


def is_chat(record: Mapping[str, Any]) -> bool:
    """Whether a line is a chat, or a line of a batch output."""
    return bool({"messages", "choices"} & record.keys()) or {"custom_id", "response"} <= set(record)


def read_chat(record: Mapping[str, Any], place: str) -> Sequence[TextTrace]:
    """The traces of one line, one for each choice.

    Raises:
        ValueError: A field is missing or holds something else, or nothing was answered.
    """
    body = _body(record)
    messages = objects_of(record, "messages") if record.get("messages") is not None else ()
    if "choices" in body:
        choices = objects_of(body, "choices")
    else:
        if not messages or messages[-1].get("role") != "assistant":
            role = messages[-1].get("role") if messages else None
            raise ValueError(
                "the last of 'messages' is what the assistant wrote, and one of the role "
                f"{role!r} was received"
            )
        choices = ({**record, "message": messages[-1]},)
    example = next((text_of(record, n) for n in ("example", "custom_id", "id") if n in record), "")
    return [
        _read_choice(choice, example, messages, record, body, place=place, seed=seed)
        for seed, choice in enumerate(choices)
    ]


def _body(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object that holds the choices, if there are any."""
    if record.get("response") is None:
        if record.get("error") is not None:
            raise ValueError(f"the request failed: 'error' is {short(record['error'])}")
        return record
    response = object_of(record, "response")
    return object_of(response, "body") if "body" in response else response


def _read_choice(
    choice: Mapping[str, Any],
    example: str,
    messages: Sequence[Mapping[str, Any]],
    record: Mapping[str, Any],
    body: Mapping[str, Any],
    *,
    place: str,
    seed: int,
) -> TextTrace:
    message = object_of(choice, "message")
    text, reasoning = message_text(message)
    for name in REASONING:  # some tools keep it beside the messages
        if reasoning is None and isinstance(choice.get(name), str):
            reasoning = choice[name]
    written = read_output(text, reasoning, is_cut=choice.get("finish_reason") in CUT)
    return TextTrace(
        place=place,
        example=example,
        question=last_question(messages),
        chain=written.chain,
        answer=written.answer,
        status=written.status,
        target=text_of(record, "target"),
        writer=last_name(body.get("model")) or last_name(record.get("model")) or "imported",
        seed=record.get("seed", 0) + seed if isinstance(record.get("seed", 0), int) else seed,
        is_output=True,
    )


def last_question(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text of the last message of the user; empty where there is none."""
    asked = [message for message in messages if message.get("role") == "user"]
    return message_text(asked[-1])[0] if asked else ""


def message_text(message: Mapping[str, Any]) -> tuple[str, str | None]:
    """The text of a message, and its reasoning where that is kept apart.

    Raises:
        ValueError: The content is neither a text nor a list of parts.
    """
    content = message.get("content")
    check_field("content", content, (str, list), "a text or a list of parts")
    reasoning = next((message[n] for n in REASONING if message.get(n) is not None), None)
    check_field("reasoning_content", reasoning, str, "a text")
    if not isinstance(content, list):
        return content or "", reasoning
    texts: list[str] = []
    for part in content:
        if not isinstance(part, dict):
            raise ValueError(f"a part of 'content' is an object, and {short(part)} was received")
        if part.get("type") == "reasoning":
            if part.get("redacted"):
                raise ValueError(
                    "'reasoning' in 'content' is redacted: its provider gives no chain to read"
                )
            reasoning = (reasoning or "") + text_of(part, "reasoning")
        elif "text" in part:
            texts.append(text_of(part, "text"))
    return "".join(texts), reasoning
