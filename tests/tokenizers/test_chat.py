"""Chat templates: as transformers renders them, from where it takes them, and in a sandbox."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from picoformer.errors import Error
from picoformer.tokenizers.chat import Chat, read_chat

pytest.importorskip("jinja2")
# What transformers made of them; of those that models have, shortened, and an odd one.
DATA = json.loads((Path(__file__).parents[1] / "data" / "chat_templates.json").read_text("utf8"))
TALK, SYSTEM = DATA["talk"], [DATA["system"]]
CONVERSATIONS = [TALK[:1], TALK, SYSTEM + TALK[:1], SYSTEM + TALK, TALK[:2]]


def chat(template, **tokens):
    return Chat({"chat": {"template": template, "tokens": tokens}}, "m.pft")


@pytest.mark.parametrize("given", DATA["templates"], ids=lambda t: t["name"])
def test_prompts_are_those_of_transformers(given):
    ours = chat(given["template"], **DATA["tokens"])
    for messages, expected in zip(CONVERSATIONS, given["prompts"], strict=True):
        if expected is None:
            with pytest.raises(Error, match="chat template says: System role not supported"):
                ours.prompt(messages)
        else:
            assert ours.prompt(messages) == expected


def test_the_day():
    said = chat("{{ strftime_now('%Y-%m-%d') }}").prompt([])
    assert len(said) == 10 and said[:2] == "20" and said[4] == said[7] == "-"


@pytest.mark.parametrize(
    "template, said",
    [
        ("{% if %}", "Expected an expression"),
        ("{{ messages[7].content.x }}", "undefined|no element"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ messages.append(1) }}", "unsafe|not safely"),
        ("{{ ''.__class__.__mro__ }}", "unsafe|undefined"),
        ("{{ raise_exception.__globals__['json'] }}", "unsafe|undefined|not subscriptable"),
        ("{{ dict.fromkeys.__func__.__globals__ }}", "unsafe|undefined"),
        ("{% set n = namespace(__init__=1) %}", "cannot have '__init__'"),
        ("{% set n = namespace() %}{% set n.__class__ = 1 %}", "cannot have '__class__'"),
        ("{% for i in range(999999999) %}{% endfor %}", "Range too big"),
        ("{% include 'x' %}", "no loader"),
        ("{{ 'x' + 1 }}", "concatenate"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
    ],
)
def test_what_a_template_must_not_is_one_error(template, said):
    with pytest.raises(Error, match=f"^the model's chat template says: .*({said})"):
        chat(template).prompt([{"role": "user", "content": "hi"}])


def test_conversations_are_not_changed():
    messages = [{"role": "user", "content": "hi"}]
    chat("{% set m = messages[0] %}{{ m.update({'a': 1}) if false }}").prompt(messages)
    assert messages == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("meta", [{}, {"chat": 1}, {"chat": {}}, {"chat": {"template": None}}])
def test_a_file_without_a_template(meta):
    with pytest.raises(Error, match="m.pft has no chat template: convert it again"):
        Chat(meta, "m.pft")


def test_a_strange_files_tokens():
    for tokens in (3, {"messages": "x", "_token": 7}, None):
        ours = Chat({"chat": {"template": "{{ messages[0].content }}", "tokens": tokens}}, "m.pft")
        assert ours.prompt([{"role": "user", "content": "hi"}]) == "hi"


def test_without_jinja2(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(Error, match=r"jinja2 is not installed: pip install 'picoformer\[chat\]'"):
        chat("x")


def write(folder, **files):
    for name, value in files.items():
        stem, _, suffix = name.rpartition("_")
        text = value if isinstance(value, str) else json.dumps(value)
        (folder / f"{stem}.{suffix}").write_text(text, "utf8")
    return read_chat(folder)


def test_where_templates_are(tmp_path):
    assert read_chat(tmp_path) == {}
    config = {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": None}
    assert write(tmp_path, tokenizer_config_json=config) == {}
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    found = write(tmp_path, chat_template_json={"chat_template": "old"})
    assert found == {"template": "old", "tokens": tokens}
    config["chat_template"] = "inside"
    assert write(tmp_path, tokenizer_config_json=config)["template"] == "inside"
    named = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]
    config["chat_template"] = named
    assert write(tmp_path, tokenizer_config_json=config)["template"] == "d"
    assert write(tmp_path, chat_template_jinja="füe\n")["template"] == "füe\n"
    (tmp_path / "chat_template.jinja").unlink()
    config["chat_template"] = named[:1]
    assert write(tmp_path, tokenizer_config_json=config) == {}


def test_malformed_files(tmp_path):
    with pytest.raises(Error, match="tokenizer_config.json: not JSON"):
        write(tmp_path, tokenizer_config_json="{")
    with pytest.raises(Error, match="the file is 7, expected an object"):
        write(tmp_path, tokenizer_config_json=7)
