"""Copies sources of the broker, with the faults of mutants.txt inside.

mutate.py ROOT MUTANTS OUT FILE...

Writes each FILE, a path below ROOT, to OUT. MUTANT(NAME) becomes a question
that the program can answer at run time: see mutant.h. Fails when a text is not
found exactly once, and when a fault has no place.
"""

import pathlib
import re
import sys


class Mistake(Exception):
    pass


def read(path):
    """The names of all faults, and for each file its (text, replacement)s."""
    names, edits, file, part = [], {}, None, None
    for line in path.read_text().splitlines(keepends=True):
        word = line.strip()
        if part is None and word.startswith("mutant "):
            names.append(word.removeprefix("mutant ").partition(":")[0])
        elif part is None and word.startswith("file "):
            file = word.removeprefix("file ")
        elif word == "<<<<":
            part = text = []
        elif word == "====":
            part = replacement = []
        elif word == ">>>>":
            edits.setdefault(file, []).append(("".join(text), "".join(replacement)))
            part = None
        elif part is not None:
            part.append(line)
        elif word and not word.startswith("#"):
            raise Mistake(f"{path}: what is {word!r}?")
    return names, edits


def mutate(source, edits, names, where):
    used = set()

    def ask(match):
        used.add(match[1])
        return f"::broker::races::Mutant({names.index(match[1]) + 1})"

    for text, replacement in edits:
        count = source.count(text)
        if count != 1:
            raise Mistake(f"{where}: this must be there once, and is {count} times:\n{text}")
        unknown = set(re.findall(r"MUTANT\((\w+)\)", replacement)) - set(names)
        if unknown:
            raise Mistake(f"{where}: no such mutant: {', '.join(unknown)}")
        source = source.replace(text, re.sub(r"MUTANT\((\w+)\)", ask, replacement))
    return '#include "tests/races/mutant.h"\n' + source, used


def main():
    root, mutants, out = map(pathlib.Path, sys.argv[1:4])
    names, edits = read(mutants)
    placed = set()
    for file in sys.argv[4:]:
        source, used = mutate((root / file).read_text(), edits.pop(file, []), names, file)
        placed |= used
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        (out / file).write_text(source)
    if edits or placed != set(names):
        raise Mistake(f"{mutants}: without a place: {sorted(set(edits) | set(names) - placed)}")
    (out / "names.inc").write_text("".join(f'"{name}",\n' for name in names))


if __name__ == "__main__":
    try:
        main()
    except Mistake as mistake:
        sys.exit(str(mistake))
