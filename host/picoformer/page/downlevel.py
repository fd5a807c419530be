"""Modules of the planner made ready for MicroPython, as texts: the page plans by the same code.

Annotations, docstrings and imports that only types need go; what MicroPython's syntax or its
types lack becomes calls of web/plan/python.py; a dataclass becomes a class with an __init__.
Dictionaries keep their order there only as OrderedDict.
"""

from __future__ import annotations

import ast

LACKING = "bit_length", "removesuffix"  # methods of int and str
TYPES = "__future__", "typing", "collections.abc", "dataclasses"
SHIM = "python"  # the module that has what MicroPython lacks
HELD = "OrderedDict", "asdict", "bisect_left", "copy", "escape", "insort", "joined", "replace"


def module(source: str, places: dict[str, str]) -> str:
    """A module's text; places: of what it imports relatively ("..device"), by such names."""
    tree = _Module(places).visit(ast.parse(source))
    names = ", ".join(sorted({*HELD, *LACKING}))
    tree.body.insert(0, ast.parse(f"from .{SHIM} import {names}").body[0])
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def _call(name: str, *given: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(given), [])


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


class _Module(ast.NodeTransformer):
    def __init__(self, places: dict[str, str]) -> None:
        self.places = places

    # Statements

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        if not node.level:
            own = {alias.name for alias in node.names} <= {*HELD}
            return None if own or node.module in TYPES else node
        name = "." * node.level + (node.module or "")
        head = next((p for p in self.places if name == p or name.startswith(p + ".")), None)
        if head:
            name = self.places[head] + name[len(head) :]
            level = len(name) - len(name.lstrip("."))
            return ast.ImportFrom(name[level:] or None, node.names, level)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        for a in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            a.annotation = None
        for rest in (node.args.vararg, node.args.kwarg):
            if rest:
                rest.annotation = None
        node.body = _bare(node.body)
        self.generic_visit(node)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.Assign | None:
        if node.value is None:
            return None
        self.generic_visit(node)
        return ast.Assign([node.target], node.value, lineno=node.lineno)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        made = [d for d in node.decorator_list if _name(getattr(d, "func", d)) == "dataclass"]
        node.decorator_list = [d for d in node.decorator_list if d not in made]
        node.body = _bare(node.body)
        if made:
            fields = [n for n in node.body if isinstance(n, ast.AnnAssign)]
            rest = [n for n in node.body if n not in fields]
            node.body = [*_initial(fields), *rest]
        node.body = [n for n in node.body if not isinstance(n, ast.AnnAssign) or n.value]
        node.body = node.body or [ast.Pass()]
        self.generic_visit(node)
        return node

    # Expressions

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        text = ""
        given = []
        for part in node.values:
            if isinstance(part, ast.Constant):
                text += str(part.value).replace("{", "{{").replace("}", "}}")
            elif isinstance(part, ast.FormattedValue):
                spec = part.format_spec
                form = "".join(str(ast.literal_eval(v)) for v in getattr(spec, "values", ()))
                how = f"!{chr(part.conversion)}" if part.conversion > 0 else ""
                text += "{" + how + (f":{form}" if form else "") + "}"
                given.append(self.visit(part.value))
        return ast.Call(ast.Attribute(ast.Constant(text), "format", ast.Load()), given, [])

    def visit_Dict(self, node: ast.Dict) -> ast.expr:
        self.generic_visit(node)
        parts: list[ast.expr] = []
        pairs: list[ast.expr] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None:
                pairs.append(ast.Tuple([key, value], ast.Load()))
                continue
            parts += [_call("OrderedDict", ast.List(pairs, ast.Load()))] * bool(pairs) + [value]
            pairs = []
        if pairs or not parts:
            parts.append(_call("OrderedDict", ast.List(pairs, ast.Load())))
        return parts[0] if len(parts) == 1 else _call("joined", *parts)

    def visit_DictComp(self, node: ast.DictComp) -> ast.expr:
        self.generic_visit(node)
        pair = ast.Tuple([node.key, node.value], ast.Load())
        return _call("OrderedDict", ast.ListComp(pair, node.generators))

    def visit_List(self, node: ast.List) -> ast.expr:
        return self._sequence(node)

    def visit_Tuple(self, node: ast.Tuple) -> ast.expr:
        return self._sequence(node)

    def _sequence(self, node: ast.List | ast.Tuple) -> ast.expr:
        """Without stars: lists one behind the other."""
        self.generic_visit(node)
        starred = [isinstance(e, ast.Starred) for e in node.elts]
        if not any(starred) or not isinstance(node.ctx, ast.Load):
            return node
        parts = [
            _call("list", e.value) if isinstance(e, ast.Starred) else ast.List([e], ast.Load())
            for e in node.elts
        ]
        whole: ast.expr = parts[0]
        for part in parts[1:]:
            whole = ast.BinOp(whole, ast.Add(), part)
        return _call("tuple", whole) if isinstance(node, ast.Tuple) else whole

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr in LACKING:
            return _call(node.func.attr, node.func.value, *node.args)
        if _name(node.func) == "zip":
            node.keywords = [k for k in node.keywords if k.arg != "strict"]
        if _name(node.func) == "isinstance":
            node.args[1] = _kinds(node.args[1])
        return node


def _bare(body: list[ast.stmt]) -> list[ast.stmt]:
    """Statements without a docstring."""
    first = body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return body[1:] or [ast.Pass()]
    return body


def _kinds(node: ast.expr) -> ast.expr:
    """int | str as a tuple."""
    if not isinstance(node, ast.BinOp):
        return node
    kinds = [_kinds(node.left), _kinds(node.right)]
    parts = [e for k in kinds for e in (k.elts if isinstance(k, ast.Tuple) else [k])]
    return ast.Tuple(parts, ast.Load())


def _initial(fields: list[ast.AnnAssign]) -> list[ast.stmt]:
    """The names of a dataclass's fields and its __init__."""
    names = []
    given = []
    body = []
    for f in fields:
        name = _name(f.target)
        names.append(name)
        value = name
        if isinstance(f.value, ast.Call) and _name(f.value.func) == "field":
            options = {k.arg: k.value for k in f.value.keywords}
            if "default_factory" in options:
                given.append(f"{name}=None")
                made = ast.unparse(options["default_factory"])
                value = f"{made}() if {name} is None else {name}"
            else:
                given.append(f"{name}={ast.unparse(options['default'])}")
        else:
            given.append(f"{name}={ast.unparse(f.value)}" if f.value else name)
        body.append(f"    self.{name} = {value}")
    text = "\n".join([f"def __init__(self, {', '.join(given)}):", *body])
    listed = f"_fields = {tuple(names)!r}"
    return [*ast.parse(listed).body, *ast.parse(text).body]
