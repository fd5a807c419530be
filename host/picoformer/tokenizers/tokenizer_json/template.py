"""Post-processors: what stands around a text, and around two."""

from __future__ import annotations

from typing import Any

from ...errors import Error
from ..vocabulary import Item, Template, Vocabulary
from .components import TokenizerJson

_CONTROL_NAMES = {
    "bos": ("<s>", "<bos>", "[BOS]", "<|endoftext|>"),
    "eos": ("</s>", "<eos>", "[EOS]", "<|endoftext|>"),
}
# what BERT's and RoBERTa's own processors put around a text and a pair; A and B have a type
_PROCESSORS = {
    "BertProcessing": ("cls0 A0 sep0", "cls0 A0 sep0 B1 sep1"),
    "RobertaProcessing": ("cls0 A0 sep0", "cls0 A0 sep0 sep0 B0 sep0"),
}


def begins_with(name: str) -> dict[str, Any]:
    """The post-processor that puts a token in front of a text."""
    front = {"SpecialToken": {"id": name, "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    return {"type": "TemplateProcessing", "single": [front, text]}


def read_template(file: TokenizerJson) -> Template:
    """What a post-processor puts around a text, and around two."""
    steps = file.steps("post_processor")
    steps = [step for step in steps if step.get("type") != "ByteLevel"]  # which moves offsets
    if not steps:
        return Template([(1, 0, 0)], [(1, 0, 0), (2, 0, 1)])
    step = steps[0]
    kind = step.get("type")
    if len(steps) > 1 or kind not in ("TemplateProcessing", *_PROCESSORS):
        raise Error(
            f"{file.path}: post-processor {file.brief('post_processor')}; supported is one of "
            "TemplateProcessing, BertProcessing and RobertaProcessing"
        )
    if kind in _PROCESSORS:
        tokens: dict[str, int] = {}
        for key in ("cls", "sep"):
            listed = file.items(step.get(key), f"post_processor.{key}")
            name = listed[0] if listed else None
            tokens[key] = file.known(file.names, name, f"post_processor.{key}")
        return Template(*(_shape(shape, tokens) for shape in _PROCESSORS[str(kind)]))
    special = step.get("special_tokens")
    special = file.mapping({} if special is None else special, "special_tokens")
    single, pair = (
        _template_items(file, step.get(key) or [], special) for key in ("single", "pair")
    )
    texts = [kind for kind, *_ in single if kind], sorted(kind for kind, *_ in pair if kind)
    if texts[0] != [1] or texts[1] not in ([], [1, 2]):
        raise Error(
            f"{file.path}: post-processor {file.brief('post_processor')}; expected each text once"
        )
    return Template(single, pair)


def _shape(shape: str, tokens: dict[str, int]) -> list[Item]:
    return [
        (("A", "B").index(name) + 1, 0, type_) if name in "AB" else (0, tokens[name], type_)
        for name, type_ in ((word[:-1], int(word[-1])) for word in shape.split())
    ]


def _template_items(file: TokenizerJson, value: object, special: dict[str, Any]) -> list[Item]:
    items: list[Item] = []
    for item in file.items(value, "a template"):
        item = file.mapping(item, "a template's item")
        token = item.get("SpecialToken")
        step = file.mapping(item.get("Sequence") if token is None else token, "a template's item")
        type_ = step.get("type_id", 0)
        if not isinstance(type_, int) or not 0 <= type_ <= 255:
            raise Error(f"{file.path}: type_id {type_!r} in a template, expected 0 to 255")
        name = file.text(step.get("id"), "an id in a template")
        if token is None:
            if name not in ("A", "B"):
                raise Error(f"{file.path}: text {name!r} in a template, expected A or B")
            items.append((1 + (name == "B"), 0, type_))
            continue
        listed = special.get(name)
        if listed is None:
            tokens = [file.known(file.names, name, "a token in a template")]
        else:
            found = file.items(file.mapping(listed, name).get("ids"), f"the ids of {name!r}")
            tokens = [file.token(i, f"the id of {name!r}") for i in found]
        lacking = [i for i in tokens if i >= file.size]
        if lacking:
            raise Error(
                f"{file.path}: the post-processor puts {name!r} (token {lacking[0]}) around a "
                f"text, which is not among the {file.size} tokens that the model has"
            )
        items += [(0, i, type_) for i in tokens]
    return items


def ends(template: Template, names: dict[str, int]) -> tuple[int, int]:
    """BOS and EOS: what the template puts around a text, else by name, else -1."""
    first, last = (
        next((names[name] for name in _CONTROL_NAMES[which] if name in names), -1)
        for which in ("bos", "eos")
    )
    before = True
    for kind, token, _ in template.single:
        if kind:
            before = False
        elif before:
            first = token
        else:
            last = token
    return first, last


def drop_default_template(v: Vocabulary, template: Template) -> None:
    """No template where it is what a section without one means."""
    start: list[Item] = [(0, v.bos, 0)] if v.bos >= 0 else []
    both = [*start, (1, 0, 0), *start, (2, 0, 0)]
    if template.single == [*start, (1, 0, 0)] and template.pair in ([], both):
        v.template = None
