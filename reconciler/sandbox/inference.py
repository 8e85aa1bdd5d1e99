"""What simulated models answer, in OpenAI's form: the shape of a chat completion, and what makes a body unfit for one.

Knows no provider; who may ask, and which models there are, is each simulator's. Common knob: `probe_fails_for`, the
seconds after a deployment became ready in which asking it fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.model import Json
from reconciler.sandbox.base import Request, World


class UnfitError(Exception):
    """The body is no chat request: what is wrong with it."""


def asked_model(request: Request) -> tuple[str, dict[str, Any]]:
    """The model that a chat request names, and its body. Raises UnfitError."""
    try:
        body = request.json()
    except ValueError:
        raise UnfitError("the body is not JSON") from None
    if not isinstance(body, dict) or "application/json" not in request.headers.get("content-type", ""):
        raise UnfitError("the body must be a JSON object with its content type")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise UnfitError("you must provide a model parameter")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        raise UnfitError("messages must be a list of objects with role and content")
    most = body.get("max_tokens", 1)
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise UnfitError("max_tokens must be at least 1")
    return body["model"], body


def completion(world: World, model: str, body: Mapping[str, Any]) -> dict[str, Json]:
    """A chat completion of one word, with what it used."""
    words = sum(len(str(message["content"]).split()) for message in body["messages"])
    return {
        "id": world.new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": int(world.now()),
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "pong"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": words, "completion_tokens": 1, "total_tokens": words + 1},
    }


def still_fails(world: World, ready_since: float) -> bool:
    """Whether the knob has it that what became ready then does not answer yet."""
    return world.now() < ready_since + float(world.knob("probe_fails_for", 0.0))


def _is_message(message: Json) -> bool:
    return isinstance(message, dict) and isinstance(message.get("role"), str) and message.get("content") is not None
