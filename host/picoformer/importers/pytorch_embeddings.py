"""The tables in front of a PyTorch model's layers: of the tokens, and of the positions."""

from __future__ import annotations

import re

import numpy as np

from ..errors import Error
from ..graph.nodes import Array
from . import sinusoids
from .description import Description
from .pytorch_modules import Modules

_POSITIONS = {name: name for name in ("stored", "sinusoidal", "none")}
_ABOUT_POSITIONS = re.compile(r"pos|(^|[._])(pe|wpe)($|[._])", re.I)
_ABOUT_TOKENS = re.compile(r"emb|tok|word|wte|vocab", re.I)
_ABOUT_SOURCE = re.compile(r"src|source|enc", re.I)


def find_positions(
    m: Modules, dim: int, count: int, known: int = 0
) -> tuple[list[Array | None], int]:
    """(the tables of each of so many stacks, the context). Raises Error.

    known: the context, where the input tells it.
    """
    given = m.given
    kind = given.choice("positions", _POSITIONS, "stored")
    if known and given.get("context") is not None:
        raise given.refusal("context", given.get("context"), "none: the input tells it")
    if kind != "stored":
        context = known or given.number("context")
        made = sinusoids.pytorch(context, dim) if kind == "sinusoidal" else None
        return [made] * count, context
    if given.get("context") is not None:
        raise given.refusal("context", given.get("context"), "none: the positions tell it")
    found = [n for n in m.state.left() if _ABOUT_POSITIONS.search(n)]
    names = [n.removesuffix(".weight") for n in found]
    if not names and not m.named("positions"):
        raise Error(
            f"{m.state.path}: no table of positions is found, such as pos_encoder.pe; "
            f'write "modules": {{"positions": NAME}} in {given.path.name}, or "positions": '
            '"sinusoidal" (or "none")' + ("" if known else ' and "context": N')
        )
    sources = [n for n in names if len(names) == 2 and _ABOUT_SOURCE.search(n)]
    targets = [n for n in names if n not in sources]
    tables = [m.table(m.pick("positions", targets), dim)]
    if count == 2:
        if sources or m.named("source_positions"):
            tables.insert(0, m.table(m.pick("source_positions", sources), dim))
        else:
            tables.append(tables[0])
    return list(tables), min(map(len, tables))


def may_embed(m: Modules, dim: int) -> list[str]:
    """The modules that may be an embedding of tokens."""
    # An embedding has no bias. A head that has none is told from it by its name.
    return [
        n
        for n in m.of_rank(2)
        if n + ".bias" not in m.state
        and m.state.shape(n + ".weight")[1] == dim
        and not _ABOUT_POSITIONS.search(n)
        and n not in m.head_names()
    ]


def find_embeddings(m: Modules, dim: int, count: int) -> list[Array]:
    """The tables of each of so many stacks. Raises Error."""
    found = may_embed(m, dim)
    found = [n for n in found if _ABOUT_TOKENS.search(n)] or found
    sources = []
    if count == 2 and len(found) == 2:
        sources = [n for n in found if _ABOUT_SOURCE.search(n)]
    table = m.table(m.pick("embedding", [n for n in found if n not in sources]), dim)
    if count == 1:
        return [table]
    if not sources and not m.named("source_embedding"):
        return [table, table]
    source = m.table(m.pick("source_embedding", sources), dim)
    return [source, table]


def scaled(stored: list[Array], given: Description, dim: int) -> list[Array]:
    """Embeddings (vocab, dim), times what the description says."""
    scale = embedding_scale(given, dim)
    return [t if scale == 1 else (t * np.float64(scale)).astype(np.float32) for t in stored]


def embedding_scale(given: Description, dim: int) -> float:
    """What the description says that embeddings are multiplied by. Raises Error."""
    if given.get("embedding_scale") == "sqrt":
        return float(np.sqrt(dim))
    return given.real("embedding_scale", 1.0)


def find_class_token(m: Modules, dim: int) -> Array | None:
    """The class token (dim,), if there is one."""
    tokens = [n for n in m.state.left() if re.search(r"cls|class_tok", n)]
    if not tokens and not m.named("class_token"):
        return None
    if len(tokens) > 1:  # a head may be called so as well
        tokens = [n for n in tokens if int(np.prod(m.state.shape(n))) == dim] or tokens
    key = m.pick("class_token", tokens)
    if int(np.prod(m.state.shape(key))) != dim:
        raise Error(f"{m.state.path}: {key} has shape {m.state.shape(key)}, not {dim}")
    return m.state.get(key, *m.state.shape(key)).reshape(-1)
