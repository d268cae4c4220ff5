"""Prints the tree's own files of a compile_commands.json: all, or those that contain one of the words given.

Without the models, *_relacy.cpp: they tell accesses apart by std::source_location, which clang 14 does not have with
this standard library. The headers that they check are linted with the tests and the product; clang-format and
tools/tidy.py read the models, too.
"""

import json
import pathlib
import sys

UNREADABLE = "_relacy.cpp"  # for clang 14


def compiled_sources(database: pathlib.Path, words: list[str]) -> list[str]:
    root = pathlib.Path(__file__).resolve().parent.parent
    entries = json.loads(database.read_text(encoding="utf-8"))
    paths = {(pathlib.Path(entry["directory"]) / entry["file"]).resolve() for entry in entries}
    own = sorted(
        str(path.relative_to(root))
        for path in paths
        if path.is_relative_to(root) and not path.is_relative_to(root / "build")
    )
    readable = [path for path in own if not path.endswith(UNREADABLE)]
    return [path for path in readable if not words or any(word in path for word in words)]


if __name__ == "__main__":
    print("\n".join(compiled_sources(pathlib.Path(sys.argv[1]), sys.argv[2:])))
