"""Writes the vectors of testdata/templates and those of fetched templates.

    generate.py                    the committed vectors
    generate.py --random N --seed S FILE   N random expressions, to FILE
    generate.py --external DIR     for every DIR/*.jinja, to DIR/rendered.jsonl
"""

import argparse
import copy
import pathlib
import random

import conversations
import expressions
import oracle
import snippets

ROOT = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "templates"
SAMPLE = 1200  # random expressions that are committed


def write_expressions(path, sources):
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        f.write(oracle.line({"vars": snippets.VARIABLES}))
        for source in sources:
            result = oracle.render(source, copy.deepcopy(snippets.VARIABLES))
            if " at 0x" not in result.get("o", ""):  # an address never repeats
                f.write(oracle.line({"t": source, **result}))


def write_rendered(folder, path):
    cases = conversations.cases()
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        f.write(oracle.line({"cases": cases}))
        for template in sorted(folder.glob("*.jinja")):
            source = template.read_text(encoding="utf-8")
            for i, case in enumerate(cases):
                result = oracle.render(source, conversations.variables(case))
                f.write(oracle.line({"t": template.name, "c": i, **result}))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--random", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--external", type=pathlib.Path)
    parser.add_argument("file", nargs="?", type=pathlib.Path)
    args = parser.parse_args()
    if args.external:
        write_rendered(args.external, args.external / "rendered.jsonl")
    elif args.random:
        write_expressions(args.file, expressions.sources(random.Random(args.seed), args.random))
    else:
        write_expressions(ROOT / "snippets.jsonl", snippets.snippets())
        write_expressions(ROOT / "random.jsonl", expressions.sources(random.Random(20260307), SAMPLE))
        write_rendered(ROOT, ROOT / "rendered.jsonl")


if __name__ == "__main__":
    main()
