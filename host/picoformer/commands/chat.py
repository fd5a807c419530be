"""A conversation with a model, on a board or simulated: `--chat`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Generator
from typing import Any

from ..errors import Error
from ..tokenizers.chat import Chat, Message
from .arguments import check_n
from .texts import typed

Write = Callable[[str], Generator[str, None, None]]
"""Yields what follows a prompt that has all of its special tokens."""


def add_chat(p: argparse.ArgumentParser) -> None:
    """Add the options of what talks with a model."""
    p.add_argument(
        "--chat", action="store_true",
        help="chat with the model until Ctrl-D; with --prompt, send one message",
    )  # fmt: skip
    p.add_argument(
        "--system", metavar="TEXT", help="system message of a --chat: instructions for the model"
    )


def check_chat(o: argparse.Namespace) -> None:
    """Raises Error for options that do not go together."""
    check_n(o.n)
    if o.system is not None and not o.chat:
        raise Error("--system is for --chat")
    if o.chat and o.json and not o.prompt:
        raise Error("--chat with --json sends one message: give it with --prompt")


def converse(o: argparse.Namespace, meta: dict[str, Any], name: str, write: Write) -> str:
    """One turn where there is a prompt, else turns until Ctrl-D; what the model said last."""
    chat = Chat(meta, name)
    messages: list[Message] = []
    if o.system is not None:
        messages.append({"role": "system", "content": o.system})
    if o.prompt:
        messages.append({"role": "user", "content": o.prompt})
        return _answer(chat, messages, write, not o.json)
    said = ""
    for line in typed():
        messages.append({"role": "user", "content": line})
        said = _answer(chat, messages, write, alone=False)
        messages.append({"role": "assistant", "content": said})
        print("\n")
    return said


def _answer(
    chat: Chat, messages: list[Message], write: Write, show: bool = True, alone: bool = True
) -> str:
    """What the model says next, printed as it comes; Ctrl-C ends it, or all if it is alone."""
    said = ""
    pieces = write(chat.prompt(messages))
    try:
        for piece in pieces:
            said += piece
            if show:
                print(piece, end="", flush=True)
    except KeyboardInterrupt:
        if alone:
            raise
    except Error as e:
        if "(the context)" not in str(e):
            raise
        raise Error(
            f"the conversation has become too long: {e}; begin a new one, or convert the model "
            "with more --positions"
        ) from e
    finally:
        pieces.close()
    return said
