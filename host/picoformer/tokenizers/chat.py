"""Chat templates: from a checkpoint's folder to a model file's metadata, and to a prompt.

They are programs of strangers, in Jinja's language: they run in its sandbox, with what
transformers gives them (its `apply_chat_template`) and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import Error
from .files import JsonReader, read_bytes, read_json

Message = dict[str, str]
"""A turn: "role" (system, user or assistant) and "content"."""

_FILES = "chat_template.jinja", "tokenizer_config.json", "chat_template.json"
_NAMES = "bos", "eos", "unk", "sep", "pad", "cls", "mask"


def read_chat(folder: Path) -> dict[str, Any]:
    """A folder's chat template, and the special tokens that it may name; {} without a template.

    In metadata this is "chat". Raises Error for a file that is malformed.
    """
    template: object = None
    found: dict[str, Any] = {}
    for name in reversed(_FILES):  # what comes first in the list counts
        path = folder / name
        if not path.is_file():
            continue
        if path.suffix == ".jinja":
            template = read_bytes(path).decode("utf-8", "replace")
            continue
        config = JsonReader(str(path)).mapping(read_json(path), "the file")
        template = config.get("chat_template") or template
        found = config if name == _FILES[1] else found
    if isinstance(template, list):  # several by their names
        listed = {t.get("name"): t.get("template") for t in template if isinstance(t, dict)}
        template = listed.get("default")
    if not isinstance(template, str) or not template.strip():
        return {}
    tokens = {f"{name}_token": _content(found.get(f"{name}_token")) for name in _NAMES}
    return {"template": template, "tokens": {k: v for k, v in tokens.items() if v is not None}}


def _content(token: object) -> str | None:
    """A special token's text, of tokenizer_config.json."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None


class Chat:
    """Makes prompts of conversations by the template in a model file's metadata. Raises Error."""

    def __init__(self, meta: dict[str, Any], name: str) -> None:
        chat = meta.get("chat")
        if not isinstance(chat, dict) or not isinstance(chat.get("template"), str):
            raise Error(
                f"{name} has no chat template: convert it again from a folder with one (in "
                f"{_FILES[1]} or {_FILES[0]}), or give the whole prompt yourself, with --prompt "
                "and without --chat"
            )
        tokens = chat.get("tokens")
        tokens = tokens if isinstance(tokens, dict) else {}
        self._tokens = {k: str(v) for k, v in tokens.items() if k.endswith("_token")}
        self._render = _compiled(chat["template"])

    def prompt(self, messages: Sequence[Message]) -> str:
        """A conversation, up to where the answer begins; it has all of its special tokens."""
        return self._render(
            messages=[dict(m) for m in messages], tools=None, documents=None,
            add_generation_prompt=True, **self._tokens,
        )  # fmt: skip


def _compiled(template: str) -> Callable[..., str]:
    """A template as a function of its variables. Raises Error, as that function does."""
    try:
        from jinja2 import TemplateError
    except ImportError as e:
        raise Error("jinja2 is not installed: pip install 'picoformer[chat]'") from e

    def said(e: Exception) -> Error:
        return Error(f"the model's chat template says: {e or type(e).__name__}")

    try:
        render = _environment().from_string(template).render
    except (TemplateError, RecursionError) as e:
        raise said(e) from e

    def rendered(**values: Any) -> str:
        try:
            return str(render(**values))
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError,
                AttributeError, RecursionError) as e:  # fmt: skip
            raise said(e) from e

    return rendered


def _environment() -> Any:
    """Jinja's sandbox, as transformers sets it up."""
    from jinja2 import TemplateError, nodes
    from jinja2.exceptions import SecurityError
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import Namespace

    class Generation(Extension):
        """{% generation %}, which marks what an assistant says: it changes nothing."""

        tags = {"generation"}

        def parse(self, parser: Any) -> nodes.Node | list[nodes.Node]:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    class Safe(Namespace):
        """A namespace whose names do not lead into Python."""

        def __init__(*given: Any, **named: Any) -> None:
            names = dict(*given[1:], **named)
            for name in names:
                Safe._check(name)
            Namespace.__init__(given[0], names)

        def __setitem__(self, name: str, value: Any) -> None:
            Safe._check(name)
            super().__setitem__(name, value)

        @staticmethod
        def _check(name: object) -> None:
            if str(name).startswith("_"):
                raise SecurityError(f"a namespace cannot have {name!r}")

    class Dict:
        """`dict`, without what leads from a type into Python."""

        def __call__(self, *given: Any, **named: Any) -> dict[Any, Any]:
            return dict(*given, **named)

        def fromkeys(self, *given: Any) -> dict[Any, Any]:
            return dict.fromkeys(*given)

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(
        x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None,
        sort_keys: bool = False,
    ) -> str:  # fmt: skip
        return json.dumps(
            x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = tojson
    environment.globals.update(
        raise_exception=raise_exception,
        strftime_now=lambda form: datetime.now().strftime(form),
        namespace=Safe,
        dict=Dict(),
    )
    return environment
