#!/usr/bin/env python3
"""Checks what compilers and clang-tidy do not: the rules that keep the tree's shape.

    tools/tidy.py [--root FOLDER] [--list-rules]

Prints one line a finding, `path:line: [rule] sentence`, and exits 1 when there is one. Each rule is one function
below; tests/tools/tidy_test.py feeds every one of them a tree that breaks it.
A line that must break a rule says so, with its reason, on that line: `// tidy: allow(rule) reason`.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterator

BOXES = ("shm", "queues", "sched", "engine", "tools")  # bottom up: each may include itself and those before it
LIBRARY_BOXES = BOXES[:-1]
# The conflict handler and what it shares with the mesh's desk: services, which link no mesh.
CONFLICT_ROOM = ("shm/base/", "sched/records", "engine/coordination/", "engine/tasks/event_", *(
    f"engine/conflict/{name}" for name in
    ("causal_order", "conflict_handler", "conflict_log", "conflict_mining", "conflict_policy", "conflict_terms",
     "provenance", "resolution_strategies")))
NARROWED = {  # folders that may include less than their box: prefixes of paths from the root
    # What an agent links: sizes, columns and names in shared memory are the contract itself, the class is one byte.
    "engine/station/": ("shm/", "queues/", "sched/records", "sched/clock", "sched/agent_class", "engine/memory_map",
                        "engine/agent_columns", "engine/agent_name", "engine/station/"),
    "engine/coordination/": ("shm/base/", "engine/coordination/"),
    "engine/tasks/": ("shm/base/", "engine/coordination/", "engine/tasks/"),
    **{path: CONFLICT_ROOM for path in CONFLICT_ROOM if path.startswith("engine/conflict/")},
}
FORBIDDEN_FOLDERS = {"common", "util", "utils", "misc", "helper", "helpers"}
HEADER_LINES_MAX, SOURCE_LINES_MAX, COLUMNS_MAX, BRANCHES_MAX = 400, 500, 100, 10
SKIPPED_FOLDERS = {"build", ".git", ".cache", "__pycache__"}
TEXT_SUFFIXES = {".cpp", ".hpp", ".h", ".py", ".sh", ".cmake", ".txt", ".md", ".json", ".toml", ".yml", ""}


@dataclasses.dataclass(frozen=True, order=True)
class Finding:
    path: str
    line: int
    rule: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: [{self.rule}] {self.sentence}"


class File:
    """One file: its lines as they stand, and for C++ the same lines with comments and literals blanked."""

    def __init__(self, root: pathlib.Path, path: pathlib.Path) -> None:
        self.path = path.relative_to(root).as_posix()
        self.text = path.read_text(encoding="utf-8", errors="replace")
        self.lines = self.text.splitlines()

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def top(self) -> str:
        return self.path.split("/", 1)[0]

    @property
    def is_header(self) -> bool:
        return self.name.endswith((".hpp", ".h"))

    @property
    def is_cpp(self) -> bool:
        return self.is_header or self.name.endswith(".cpp")

    @functools.cached_property
    def code(self) -> str:
        return blank_comments_and_literals(self.text)

    @functools.cached_property
    def code_lines(self) -> list[str]:
        return self.code.splitlines()


LEXEME = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
      | (?P<raw>R"(?P<delimiter>[^()\s\\]{0,16})\(.*?\)(?P=delimiter)")
      | (?P<string>"(?:\\.|[^"\\\n])*")
      | (?P<number>\d(?:'?[\w.])*)
      | (?P<character>'(?:\\.|[^'\\\n])+')""",
    re.DOTALL | re.VERBOSE,
)
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def blank_comments_and_literals(text: str) -> str:
    def blank(match: re.Match[str]) -> str:
        if match.lastgroup == "number":  # 1'000 holds no character literal
            return match.group()
        return re.sub(r"[^\n]", " ", match.group())

    return LEXEME.sub(blank, text)


class Tree:
    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.folders: list[str] = []
        self.files: list[File] = []
        for folder, names, file_names in os.walk(root):
            names[:] = sorted(n for n in names if n not in SKIPPED_FOLDERS)
            here = pathlib.Path(folder)
            self.folders += [(here / n).relative_to(root).as_posix() for n in names]
            for name in sorted(file_names):
                path = here / name
                if path.suffix in TEXT_SUFFIXES and path.is_file() and name != ".git":
                    self.files.append(File(root, path))
        self.by_path = {file.path: file for file in self.files}

    def cpp(self, *tops: str) -> Iterator[File]:
        """C++ files of the given top folders; of all of them when none is given."""
        return (f for f in self.files if f.is_cpp and (not tops or f.top in tops))


Found = Iterator[tuple[File | str, int, str]]
Rule = Callable[[Tree], Found]
RULES: dict[str, Rule] = {}


def rule(name: str) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        RULES[name] = function
        return function

    return register


def each_match(files: Iterator[File], pattern: re.Pattern[str]) -> Iterator[tuple[File, int, str]]:
    """Where the code of these files, without comments and literals, matches."""
    for file in files:
        for number, line in enumerate(file.code_lines, 1):
            for match in pattern.finditer(line):
                yield file, number, match.group().strip()


def includes(file: File) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(file.lines, 1):
        if match := INCLUDE.match(line):
            if file.code_lines[number - 1].strip():  # not commented out
                yield number, match.group(1)


# --- includes ------------------------------------------------------------------------------------------------------


@rule("include-from-root")
def include_from_root(tree: Tree) -> Found:
    for file in tree.cpp():
        for number, target in includes(file):
            if target not in tree.by_path:
                yield file, number, f'"{target}" is no file of this tree, named from its root'


@rule("backward-include")
def backward_include(tree: Tree) -> Found:
    for file in tree.cpp(*BOXES):
        for number, target in includes(file):
            box = target.split("/", 1)[0]
            if box in BOXES and BOXES.index(box) > BOXES.index(file.top):
                yield file, number, f"{file.top} may not include {target}: {' <- '.join(BOXES)}"


@rule("product-includes-test")
def product_includes_test(tree: Tree) -> Found:
    for file in tree.cpp(*BOXES):
        for number, target in includes(file):
            if target.startswith(("tests/", "bench/", "examples/")):
                yield file, number, f"product code may not include {target}"


@rule("narrow-include")
def narrow_include(tree: Tree) -> Found:
    for file in tree.cpp("engine"):
        for folder, allowed in NARROWED.items():
            if not file.path.startswith(folder):
                continue
            for number, target in includes(file):
                if not target.startswith(allowed):
                    yield file, number, f"{folder} may include only {', '.join(allowed)}; not {target}"


# --- coordination services -----------------------------------------------------------------------------------------

SERVICE = re.compile(r"^\s*mesh_add_service\(\s*(\w+)([^)]*)\)", re.MULTILINE)


def services(tree: Tree) -> Iterator[tuple[File, int, str, set[str]]]:
    for file in tree.files:
        if file.name == "CMakeLists.txt":
            for match in SERVICE.finditer(file.text):
                line = file.text.count("\n", 0, match.start(1)) + 1
                yield file, line, match.group(1), set(match.group(2).partition("USES")[2].split())


@rule("room-files")
def room_files(tree: Tree) -> Found:
    for file, line, name, _ in services(tree):
        for path in (
            f"engine/coordination/{name}.hpp",
            f"engine/coordination/{name}.cpp",
            f"tests/engine/coordination/{name}_test.cpp",
            f"bench/engine/coordination/{name}_bench.cpp",
            f"docs/coordination/{name}.md",
        ):
            if path not in tree.by_path:
                yield file, line, f"mesh_add_service({name}) has no {path}"


@rule("room-includes-room")
def room_includes_room(tree: Tree) -> Found:
    declared = {name: uses for _, _, name, uses in services(tree)}
    for file in tree.cpp("engine"):
        room = file.name.rsplit(".", 1)[0]
        if not file.path.startswith("engine/coordination/") or room not in declared:
            continue
        for number, target in includes(file):
            other = target.removeprefix("engine/coordination/").removesuffix(".hpp")
            if other in declared and other != room and other not in declared[room]:
                yield file, number, f"room {room} may not include {other} without USES {other}"


# --- shared words --------------------------------------------------------------------------------------------------

SYNC = re.compile(r"\bSYNC\s+([a-z]\w*(?:\.\w+)+)(?:\s+(release|acquire|seq_cst)\b)?")
PARTNER = {"release": "acquire", "acquire": "release"}


@rule("unpaired-sync")
def unpaired_sync(tree: Tree) -> Found:
    tags: dict[str, list[tuple[File, int, str | None]]] = {}
    for file in tree.cpp(*BOXES):
        for number, line in enumerate(file.lines, 1):
            for match in SYNC.finditer(line):
                tags.setdefault(match.group(1), []).append((file, number, match.group(2)))
    for tag, ends in tags.items():
        kinds = [kind for _, _, kind in ends]
        if ("release" in kinds and "acquire" in kinds) or kinds.count("seq_cst") >= 2:
            continue
        file, number, kind = ends[0]
        missing = PARTNER.get(kind or "", "release and acquire")
        yield file, number, f"SYNC {tag} has no {missing} in the tree"


ORDERED = re.compile(r"\b(?:load|store)_(?:relaxed|acquire|release|seq_cst)\s*\(|\bmemory_order_\w+")
ORDERS_DEFINED = ("shm/base/word.hpp", "queues/local/thread_word.hpp")
LINES_ABOVE = 5  # how far above its line an explanation may start


@rule("unexplained-order")
def unexplained_order(tree: Tree) -> Found:
    """Each order on shared or atomic words carries a SYNC tag; each relaxed says why it suffices."""
    for file, number, text in each_match(tree.cpp(*BOXES), ORDERED):
        if file.path in ORDERS_DEFINED:
            continue
        near = "\n".join(file.lines[max(0, number - 1 - LINES_ABOVE) : number + 1])
        word = "relaxed" if "relaxed" in text else "SYNC"
        if not re.search(rf"(?://|\*).*\b{word}\b", near):
            yield file, number, f"{text.rstrip('( ')} without {'a reason' if word == 'relaxed' else word}"


@rule("atomic-in-layout")
def atomic_in_layout(tree: Tree) -> Found:
    layout = re.compile(r"(^|_)(layout|records?)\.hpp$")
    files = (f for f in tree.cpp(*BOXES) if layout.search(f.name))
    for file, number, _ in each_match(files, re.compile(r"\bstd\s*::\s*atomic\w*")):
        yield file, number, "shared bytes are reached through Memory::Word alone, not std::atomic"


CALL = re.compile(
    r"(?:\.|->)\s*(load|store|exchange|fetch_\w+|compare_exchange_\w+|test_and_set|clear)\s*\("
)
ALWAYS_ATOMIC = re.compile(r"exchange|fetch_\w+|compare_exchange_\w+|test_and_set")
RECEIVER = re.compile(r"(\w+)\s*(?:\[[^\]]*\]\s*)?$")
# std::atomic<int> a;  std::vector<std::atomic<int>> a;  f(std::atomic_flag& a, ...)  std::atomic_ref<int> a(b);
DECLARED_ATOMIC = re.compile(r"\bstd\s*::\s*atomic\w*[^;(){}=]*?[\s&*>](\w+)\s*(?=[;{=(\[,)])")


def declared_atomics(tree: Tree, file: File) -> set[str]:
    """Names that this file, or one of the tree that it includes, declares as atomic."""
    names: set[str] = set()
    seen = {file.path}
    open_files = [file]
    while open_files:
        current = open_files.pop()
        names.update(DECLARED_ATOMIC.findall(current.code))
        for _, target in includes(current):
            if target in tree.by_path and target not in seen:
                seen.add(target)
                open_files.append(tree.by_path[target])
    return names


def arguments_after(code: str, opening: int) -> str:
    """The text between the parenthesis at `opening` and the one that closes it."""
    depth = 0
    for position in range(opening, len(code)):
        depth += {"(": 1, ")": -1}.get(code[position], 0)
        if depth == 0:
            return code[opening + 1 : position]
    return code[opening + 1 :]


@rule("defaulted-order")
def defaulted_order(tree: Tree) -> Found:
    for file in tree.cpp():
        names = declared_atomics(tree, file)
        for call in CALL.finditer(file.code):
            method = call.group(1)
            before = file.code[max(0, call.start() - 200) : call.start()]
            receiver = RECEIVER.search(before)
            is_atomic = (
                receiver.group(1) in names if receiver else "atomic_ref" in before.rsplit("\n", 1)[-1]
            )
            arguments = arguments_after(file.code, call.end() - 1)
            if re.search(r"order|\bmo_", arguments):  # mo_: relacy's names
                continue
            if is_atomic or ALWAYS_ATOMIC.fullmatch(method):
                number = file.code.count("\n", 0, call.start(1)) + 1
                yield file, number, f"{method}() without a named memory order"
        yield from atomic_operators(file)


def atomic_operators(file: File) -> Found:
    """x++, x += 1 and x = 1 on what this file declares as atomic: each is seq_cst by default."""
    for name in sorted(set(DECLARED_ATOMIC.findall(file.code))):
        operator = re.compile(
            rf"(?:\+\+|--)\s*{name}\b"
            rf"|(?<![\w.>]){name}\s*(?:\[[^\]]*\]\s*)?(?:\+\+|--|[-+&|^]=|=(?!=))"
        )
        for number, line in enumerate(file.code_lines, 1):
            if operator.search(line) and not DECLARED_ATOMIC.search(line):
                yield file, number, f"an operator on the atomic {name} has no named memory order"


@rule("forbidden-order")
def forbidden_order(tree: Tree) -> Found:
    pattern = re.compile(
        r"\bmemory_order(?:_|\s*::\s*)consume\b|\batomic_(?:thread|signal)_fence\b|\b__sync_\w+"
    )
    for file, number, text in each_match(tree.cpp(), pattern):
        yield file, number, f"{text}: TSan and the model checker do not model it"


POINT = re.compile(r'\bMESH_POINT\(\s*"([^"]+)"')


@rule("unreached-point")
def unreached_point(tree: Tree) -> Found:
    """Each named point, a place where a death would hurt, is named by a test that goes there."""
    tests = "\n".join(file.text for file in tree.cpp("tests"))
    for file in tree.cpp(*BOXES):
        for number, line in enumerate(file.lines, 1):
            for name in POINT.findall(line):
                if "MESH_POINT" in file.code_lines[number - 1] and f'"{name}"' not in tests:
                    yield file, number, f'no test names the point "{name}": tests/points_test.cpp kills at each'


# --- what libraries and tests may not call -------------------------------------------------------------------------


@rule("print-in-library")
def print_in_library(tree: Tree) -> Found:
    pattern = re.compile(
        r"(?<!\w)(?:v?f?printf|puts|fputs|putchar)\s*\(|\bstd\s*::\s*(?:cout|cerr|clog)\b"
    )
    files = (f for f in tree.cpp(*LIBRARY_BOXES) if f.path != "shm/assert.cpp")
    for file, number, text in each_match(files, pattern):
        yield file, number, f"{text.rstrip('( ')} in a library: return a Result or count it"


@rule("abort")
def abort(tree: Tree) -> Found:
    files = (f for f in tree.cpp(*BOXES) if f.path != "shm/assert.cpp")
    pattern = re.compile(r"\b(?:abort|quick_exit|_exit)\s*\(|\bstd\s*::\s*terminate\s*\(")
    for file, number, text in each_match(files, pattern):
        yield file, number, f"{text.rstrip('( ')} outside shm/assert.cpp: use MESH_ASSERT"


@rule("sleep-in-test")
def sleep_in_test(tree: Tree) -> Found:
    pattern = re.compile(r"\b(?:sleep_for|sleep_until|usleep|(?:clock_)?nanosleep|sleep)\s*\(")
    for file, number, text in each_match(tree.cpp("tests"), pattern):
        yield file, number, f"{text.rstrip('( ')} in a test: wait for an event, or yield"


# --- the look of the tree ------------------------------------------------------------------------------------------


@rule("forbidden-folder")
def forbidden_folder(tree: Tree) -> Found:
    for folder in tree.folders:
        if folder.rsplit("/", 1)[-1].lower() in FORBIDDEN_FOLDERS:
            yield folder, 1, "a folder is named after what is inside it"


MACHINE_PATH = re.compile(r"(?<![\w.}$)*-])/(?:work|root|home|Users)/")
UNFINISHED = re.compile(r"\b(?:TO[D]O|FIX[M]E|X[X]X|HA[C]K)\b")


@rule("machine-path")
def machine_path(tree: Tree) -> Found:
    for file in tree.files:
        for number, line in enumerate(file.lines, 1):
            if match := MACHINE_PATH.search(line):
                yield file, number, f"{match.group()} exists on one machine only"


@rule("unfinished")
def unfinished(tree: Tree) -> Found:
    for file in tree.files:
        for number, line in enumerate(file.lines, 1):
            if match := UNFINISHED.search(line):
                yield file, number, f"{match.group()}: finish it, or leave it out and say so in the docs"


@rule("file-length")
def file_length(tree: Tree) -> Found:
    for file in tree.cpp():
        limit = HEADER_LINES_MAX if file.is_header else SOURCE_LINES_MAX
        if len(file.lines) > limit:
            yield file, limit + 1, f"{len(file.lines)} lines; at most {limit}"


@rule("line-length")
def line_length(tree: Tree) -> Found:
    for file in tree.cpp():
        for number, line in enumerate(file.lines, 1):
            if len(line) > COLUMNS_MAX:
                yield file, number, f"{len(line)} columns; at most {COLUMNS_MAX}"


@rule("pragma-once")
def pragma_once(tree: Tree) -> Found:
    for file in tree.cpp():
        if file.is_header and not re.search(r"^#pragma once$", file.code, re.MULTILINE):
            yield file, 1, "a header starts with its contract and #pragma once"


# What f() returns has gone before the first turn. An iterator's (->second) has not.
DANGLING_RANGE = re.compile(r"\bfor\s*\([^;]*[^:]:[^:;][^;]*\)->(?!first\b|second\b)\w+\)")


@rule("dangling-range")
def dangling_range(tree: Tree) -> Found:
    for file, number, text in each_match(tree.cpp(), DANGLING_RANGE):
        yield file, number, f"{text}: a range in what has gone; give it a name first"


# Branches as they are written. clang-tidy counts what macros expand to, so that six EXPECTs would be twelve; what a
# reader counts is the text. A lambda's are its function's.
BRANCH = re.compile(r"\b(?:if|for|while|switch)\b")
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
OPENS_SCOPE = re.compile(
    r"\b(?:namespace|class|struct|union|extern)\b(?:\s+alignas\([^)]*\))?(?!.*\))", re.DOTALL
)


def bodies(code: str) -> Iterator[tuple[int, str]]:
    """The outermost braces that are no namespace's and no class's, with where they open."""
    depth = opened = since = 0  # depth within a body; where it opened; where its scope's last declaration ended
    for match in re.finditer(r"[{};]", code):
        brace, at = match.group(), match.start()
        if depth == 0 and (brace != "{" or OPENS_SCOPE.search(code, since, at)):
            since = match.end()
            continue
        depth += {"{": 1, "}": -1, ";": 0}[brace]
        if brace == "{" and depth == 1:
            opened = at
        elif brace == "}" and depth == 0:
            since = match.end()
            yield opened, code[opened : at + 1]


@rule("function-branches")
def function_branches(tree: Tree) -> Found:
    for file in tree.cpp():
        code = DIRECTIVE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), file.code)
        for opened, body in bodies(code):
            branches = len(BRANCH.findall(body))
            if branches > BRANCHES_MAX:
                number = code.count("\n", 0, opened) + 1
                yield file, number, f"a function of {branches} branches; at most {BRANCHES_MAX}"


# --- suppressions and main -----------------------------------------------------------------------------------------

ALLOW = re.compile(r"tidy:\s*allow\(([\w-]+)\)[ \t]*(.*)")


@rule("bad-allow")
def bad_allow(tree: Tree) -> Found:
    for file in tree.cpp():
        for number, line in enumerate(file.lines, 1):
            if match := ALLOW.search(line):
                if match.group(1) not in RULES:
                    yield file, number, f"allow({match.group(1)}) names no rule"
                elif len(match.group(2).split()) < 3:
                    yield file, number, f"allow({match.group(1)}) gives no reason"


def is_allowed(file: File, number: int, name: str) -> bool:
    if not file.is_cpp or name == "bad-allow" or number > len(file.lines):
        return False
    match = ALLOW.search(file.lines[number - 1])
    return match is not None and match.group(1) == name


def check(root: pathlib.Path) -> list[Finding]:
    tree = Tree(root)
    findings = set()
    for name, function in RULES.items():
        for where, number, sentence in function(tree):
            if isinstance(where, str):
                findings.add(Finding(where, number, name, sentence))
            elif not is_allowed(where, number, name):
                findings.add(Finding(where.path, number, name, sentence))
    return sorted(findings)


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks the rules that keep the tree's shape.")
    default_root = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--root", type=pathlib.Path, default=default_root)
    parser.add_argument("--list-rules", action="store_true")
    options = parser.parse_args()
    if options.list_rules:
        print("\n".join(RULES))
        return 0
    findings = check(options.root.resolve())
    for finding in findings:
        print(finding)
    print(f"tidy: {len(RULES)} rules, {len(findings)} findings", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
