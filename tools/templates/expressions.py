"""Random expressions over the variables of the snippets."""

NUMBERS = ["0", "1", "-1", "2", "3", "7", "n", "neg", "zero", "f", "2.5", "-0.5", "1e3", "true", "xs[0]", "d.a", "10"]
STRINGS = ["'a'", "'abc'", "s", "empty", "uni", "ws", "multi", "'1'", "'a,b'", "html", "words[0]", "d.q", "'Ab cD'", "'-3.7'"]
LISTS = ["xs", "words", "el", "mixed", "[1, 2]", "(1, 'a')", "['b', 'a']", "people", "d", "ed", "range(4)", "d.items()", "'xyz'", "messages"]
OTHERS = ["none", "missing", "true", "no", "none_", "{}", "{'k': 1}", "d.nested", "people[1].age", "messages[2].content"]
STR_METHODS = ["upper()", "lower()", "strip()", "title()", "capitalize()", "split()", "split(',')", "splitlines()", "swapcase()",
               "replace('a', 'xy')", "startswith('a')", "endswith(('c', 'd'))", "find('b')", "count('a')", "zfill(6)",
               "center(8, '*')", "rjust(5)", "isdigit()", "isupper()", "islower()", "istitle()", "partition('b')", "rsplit('b', 1)", "lstrip('aH')",
               "removeprefix('a')", "index('l')", "join(words)", "isalnum()", "casefold()", "format(1)", "rfind('a')", "isspace()"]
STR_FILTERS = ["upper", "lower", "trim", "title", "capitalize", "length", "list", "int", "float", "reverse", "e", "string",
               "tojson", "wordcount", "replace('a', 'b')", "truncate(5)", "truncate(4, true, '.', 0)", "center(9)", "indent(2, true)", "first", "last", "striptags",
               "default('dd', true)", "urlencode", "wordwrap(4)", "batch(2)|list", "unique|join", "sort|join(',')", "min", "max", "safe"]
LIST_FILTERS = ["list", "length", "first", "last", "join('-')", "sort", "reverse|list", "unique|list", "tojson", "sum", "min", "max",
                "map('string')|list", "map('upper')|join", "select|list", "reject('none')|list", "select('string')|list", "map(attribute='name')|list",
                "selectattr('age', 'defined')|list|length", "batch(2, 'x')|list", "slice(2)|list", "string", "tojson(indent=1)", "count",
                "select('number')|sum", "map('length')|list", "groupby('city')", "sort(reverse=true)", "items|list", "dictsort", "map('first')|list"]
NUM_FILTERS = ["abs", "int", "float", "round", "round(1)", "string", "tojson", "default(3)", "filesizeformat", "round(0, 'floor')", "round(-1)", "round(1, 'ceil')"]
TESTS = ["defined", "none", "string", "number", "integer", "float", "mapping", "iterable", "sequence", "boolean", "odd", "even",
         "divisibleby 3", "eq 1", "in xs", "gt 1", "lower", "upper", "true", "false", "undefined", "callable", "sameas none", "ne 'a'"]
BINARY = ["+", "-", "*", "/", "//", "%", "~", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"]
SLICES = ["[1:]", "[:-1]", "[::-1]", "[1:3]", "[::2]", "[-2:]", "[0]", "[-1]", "[9]", "['a']", "[:n]", ".a", ".name", ".items"]
SLICED = ["s", "empty", "uni", "ws", "xs", "words", "el", "mixed", "people", "messages", "d", "missing", "none_", "n", "f"]
SPECS = ["d", "5d", ".2f", ">6", "^7", "<4", "+", ",", "x", "e", "g", "05", "s", "%", "_", "#x", "08.3f", "c", "r"]
PERCENT = ["%s", "%d", "%5.1f", "%r", "%x", "%05d", "%-6s|", "%e", "%g", "%+d", "%c", "%%%s", "%o", "%.3s", "%i"]


def atom(rng, kind=None):
    kind = kind or rng.choice("nnssllo")
    return rng.choice({"n": NUMBERS, "s": STRINGS, "l": LISTS, "o": OTHERS}[kind])


def expression(rng, depth):
    """One expression, mostly well typed."""
    if depth == 0:
        return atom(rng)
    sub = lambda: expression(rng, rng.randrange(depth))  # noqa: E731
    pick = rng.randrange(16)
    if pick < 4:
        return f"{sub()} {rng.choice(BINARY)} {sub()}"
    if pick == 4:
        return f"({sub()})"
    if pick == 5:
        return f"({atom(rng, 's')}).{rng.choice(STR_METHODS)}"
    if pick == 6:
        return f"{atom(rng, 's')}|{rng.choice(STR_FILTERS)}"
    if pick == 7:
        return f"{atom(rng, 'l')}|{rng.choice(LIST_FILTERS)}"
    if pick == 8:
        return f"({sub()})|{rng.choice(STR_FILTERS + LIST_FILTERS + NUM_FILTERS)}"
    if pick == 9:
        return f"({sub()}) is {rng.choice(['', 'not '])}{rng.choice(TESTS)}"
    if pick == 10:
        return f"({sub()} if {sub()} else {sub()})"
    if pick == 11:
        # Jinja folds slices of constants, which hides their errors: names only.
        return f"{rng.choice(SLICED)}{rng.choice(SLICES)}"
    if pick == 12:
        return f"[{sub()}, {sub()}]" if rng.random() < 0.6 else "{" + f"'k': {sub()}, {atom(rng, 'n')}: {sub()}" + "}"
    if pick == 13:
        return f"'{{:{rng.choice(SPECS)}}}'.format({sub()})"
    if pick == 14:
        return f"'{rng.choice(PERCENT)}' % ({sub()})"
    return f"{rng.choice(['not ', '-', '+'])}({sub()})"


def statement(rng):
    """One snippet with statements around expressions."""
    e = lambda d=2: expression(rng, d)  # noqa: E731
    space = lambda: rng.choice(["", " ", "\n", "\n  ", " x\n"])  # noqa: E731
    o = lambda: rng.choice(["{%", "{%-", "{%+", "{%"])  # noqa: E731
    c = lambda: rng.choice(["%}", "-%}", "%}", "+%}"])  # noqa: E731
    bodies = [
        f"{o()} for x in {atom(rng, 'l')} {c()}{space()}{{{{ x }}}}{space()}{o()} endfor {c()}{space()}end",
        f"{o()} for x in {atom(rng, 'l')} if {e(1)} {c()}{{{{ loop.index }}}}{space()}{o()} else {c()}E{o()} endfor {c()}",
        f"{o()} if {e()} {c()}{space()}A{space()}{o()} elif {e()} {c()}B{o()} else {c()}{space()}C{o()} endif {c()}{space()}z",
        f"{o()} set v = {e()} {c()}{space()}{{{{ v }}}}{{{{ v is string }}}}",
        f"{o()} set v {c()}{space()}{{{{ {e(1)} }}}}{space()}{o()} endset {c()}[{{{{ v }}}}]",
        f"{o()} macro m(a, b={e(1)}) {c()}{{{{ a }}}}-{{{{ b }}}}{o()} endmacro {c()}{{{{ m({e(1)}) }}}}{space()}{{{{ m(1, b={e(1)}) }}}}",
        f"{o()} with n = {e(1)} {c()}{{{{ n }}}}{o()} endwith {c()}{space()}{{{{ n }}}}",
        f"{o()} filter {rng.choice(['upper', 'trim', 'title', 'indent(1)', 'length', 'replace(1, 2)'])} {c()}{space()}{{{{ {e(1)} }}}}{o()} endfilter {c()}",
        f"{{%- set ns = namespace(v={e(1)}) -%}}{o()} for x in xs {c()}{o()} set ns.v = [ns.v, x] {c()}{o()} endfor {c()}{{{{ ns.v }}}}",
    ]
    return rng.choice(bodies)


def sources(rng, count):
    """count random snippets, without those that print addresses."""
    out = []
    while len(out) < count:
        if rng.random() < 0.75:
            out.append("{{ " + expression(rng, rng.randrange(1, 4)) + " }}")
        else:
            out.append(statement(rng))
    return out
