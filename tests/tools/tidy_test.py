"""tools/tidy.py finds each thing that it is there to find, and nothing in a tree that is as it should be.

Every rule has at least one tree below that breaks it: a rule without one fails EveryRule, so that no check is one
that cannot fail. The trees name forbidden words in pieces, because this file is checked as well.
"""

import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import tidy  # noqa: E402

GOOD = {
    "shm/base/word.hpp": "// The words.\n#pragma once\nstruct Word {};\n",
    "shm/assert.cpp": '#include "shm/base/word.hpp"\nvoid f() { std::fprintf(stderr, ""); std::abort(); }\n',
    "queues/ring.hpp": (
        '// Ring.  SYNC ring.published.\n#pragma once\n#include <atomic>\n#include "shm/base/word.hpp"\n'
        "inline void publish() { stamp.store_release(1); }  // SYNC ring.published release: the record\n"
        "inline auto poll() { return stamp.load_acquire(); }  // SYNC ring.published acquire\n"
        "inline void park() { parked.store_seq_cst(1); }  // SYNC ring.parked seq_cst\n"
        "inline auto wake() { return parked.load_seq_cst(); }  // SYNC ring.parked seq_cst\n"
    ),
    "sched/records.hpp": '#pragma once\n#include "queues/ring.hpp"\nconstexpr int kLimit = 1\'000;\n',
    "sched/clock.hpp": "#pragma once\n",
    "sched/shared.hpp": "#pragma once\nstruct S { std::atomic<int> shared{0}; };\n",
    "sched/own_store.cpp": "struct Row { int load(); void store(int); } row;\nvoid f() { row.store(row.load()); }\n",
    "sched/count.cpp": (
        "// relaxed: a counter.\n"
        "#include <atomic>\n// std::cout, printf( and abort( in a comment are words.\n"
        "std::atomic<int> count{0};\nstd::atomic<int> many[2];\n"
        "int f() { return count.load(std::memory_order_relaxed); }\n"
        "void g() { count.store(1, std::memory_order_release);\n many[0].fetch_add(1, order); }"
        "  // SYNC count.one release\n"
        "auto l() { return count.load(std::memory_order_acquire); }  // SYNC count.one acquire\n"
        'const char* h() { return "std::cout << abort()"; }\nvoid i(char* p) { std::snprintf(p, 1, "x"); }\n'
        "bool j() { return a.count == 1 && name.store_release(2); }  // SYNC count.one release\n"
        "void k(rl::atomic<int>& x) { x.store(1, rl::mo_release); }\n"
    ),
    "engine/station/station.hpp": '#pragma once\n#include "queues/ring.hpp"\n#include "sched/records.hpp"\n',
    "engine/coordination/CMakeLists.txt": "mesh_add_service(lease)\nmesh_add_service(queue USES lease)\n",
    "engine/coordination/lease.hpp": '#pragma once\n#include "shm/base/word.hpp"\n',
    "engine/coordination/lease.cpp": (
        '#include "engine/coordination/lease.hpp"\n'
        '// As MESH_POINT("lease.apply:in_a_comment").\nvoid f() { MESH_POINT("lease.apply:between"); }\n'
    ),
    "engine/coordination/queue.hpp": '#pragma once\n#include "engine/coordination/lease.hpp"\n',
    "engine/coordination/queue.cpp": '#include "engine/coordination/queue.hpp"\n',
    "tools/main.cpp": '#include "engine/station/station.hpp"\nint main() { std::cout << 1; }\n',
    "tests/base_test.cpp": (
        '#include "shm/base/word.hpp"\n// no sleep_for(1) here\nint sleepless();\n'
        'const char* point = "lease.apply:between";\n'
    ),
    "docs/a.md": "Directories are `$XDG_RUNTIME_DIR/mesh` and `/dev/shm/x`; see docs/work/plan.\n",
}
for room in ("lease", "queue"):
    GOOD[f"tests/engine/coordination/{room}_test.cpp"] = "int a;\n"
    GOOD[f"bench/engine/coordination/{room}_bench.cpp"] = "int a;\n"
    GOOD[f"docs/coordination/{room}.md"] = "One page.\n"

H = "#pragma once\n"
TEN = "if (a) b();\n" * 10
GOOD["sched/ten.hpp"] = (
    H + "#define X_LIST(X) void x() {" + " \\\n  if (a) X" * 11 + " }\n"
    "namespace a {\nstruct alignas(64) S {\n  void f() {\n" + TEN + "  }\n"
    "  S() : a(1) {\n" + TEN + "  }\n};\n" + 'extern "C" {\nvoid g() { // if while for\n' + TEN + "}\n}\n}\n"
)
FENCE = "std::atomic_thread" + "_fence(std::memory_order_seq_cst);\n"
# rule, file, content: each alone turns the good tree into one with exactly this finding.
BAD = [
    ("include-from-root", "shm/a.cpp", '#include "word.hpp"\n'),
    ("include-from-root", "tests/a.cpp", '#include "../shm/base/word.hpp"\n'),
    ("backward-include", "shm/a.cpp", '#include "queues/ring.hpp"\n'),
    ("backward-include", "queues/a.cpp", '#include "sched/clock.hpp"\n'),
    ("backward-include", "sched/a.cpp", '#include "engine/station/station.hpp"\n'),
    ("product-includes-test", "tools/a.cpp", '#include "tests/base_test.cpp"\n'),
    ("product-includes-test", "shm/a.cpp", '#include "bench/engine/coordination/lease_bench.cpp"\n'),
    ("narrow-include", "engine/station/a.cpp", '#include "sched/count.cpp"\n'),
    ("narrow-include", "engine/station/a.cpp", '#include "engine/coordination/lease.hpp"\n'),
    ("narrow-include", "engine/coordination/a.cpp", '#include "queues/ring.hpp"\n'),
    ("narrow-include", "engine/coordination/a.cpp", '#include "shm/assert.cpp"\n'),
    ("narrow-include", "engine/tasks/a.cpp", '#include "queues/ring.hpp"\n'),
    ("room-files", "engine/coordination/CMakeLists.txt", None),  # see test_room_files
    ("room-includes-room", "engine/coordination/lease.cpp", '#include "engine/coordination/queue.hpp"\n'),
    ("unpaired-sync", "queues/a.cpp", "a.store_release(1);  // SYNC a.b release: alone\n"),
    ("unpaired-sync", "queues/a.cpp", "a.load_acquire();  // SYNC a.b acquire\n"),
    ("unpaired-sync", "queues/a.cpp", "a.load_seq_cst();  // SYNC a.b seq_cst\n"),
    ("unpaired-sync", "queues/a.cpp", "// SYNC a.only_spoken_of\n"),
    ("unexplained-order", "queues/a.cpp", "void f() { a.store_release(1); }\n"),
    ("unexplained-order", "queues/a.cpp", "auto f() { return a.load_acquire(); }  // acquire\n"),
    ("unexplained-order", "queues/a.cpp", "auto f() { return a.load_relaxed(); }\n"),
    ("unexplained-order", "tools/a.cpp", "auto f() { return a.load(std::memory_order_seq_cst); }\n"),
    ("unexplained-order", "shm/a.cpp", "// SYNC ring.parked seq_cst" + "\n" * 8 + "a.load_seq_cst();\n"),
    ("atomic-in-layout", "shm/ring_layout.hpp", H + "struct A { std::atomic<int> a; };\n"),
    ("atomic-in-layout", "shm/layout.hpp", H + "struct A { std::atomic_ref<int> a; };\n"),
    ("atomic-in-layout", "sched/records.hpp", H + "struct A { std::atomic<int> a; };\n"),
    ("defaulted-order", "sched/a.cpp", "std::atomic<int> a;\nint f() { return a.load(); }\n"),
    ("defaulted-order", "tests/a.cpp", "int f(std::atomic<int>* p, int) { return p->load( ); }\n"),
    ("defaulted-order", "sched/a.cpp", "std::atomic<int> a;\nvoid f() { a.store(g(1, 2)); }\n"),
    ("defaulted-order", "sched/a.cpp", "std::vector<std::atomic<int>> a;\nvoid f() { a[0].store(1); }\n"),
    ("defaulted-order", "sched/a.cpp", "std::array<std::atomic<int>, 4> a;\nvoid f() { a[0].load(); }\n"),
    ("defaulted-order", "sched/a.cpp", "int f(int& a) { return std::atomic_ref<int>(a).load(); }\n"),
    ("defaulted-order", "tests/a.cpp", '#include "sched/shared.hpp"\nint f() { return s.shared.load(); }\n'),
    ("defaulted-order", "sched/a.cpp", "void f() { a.fetch_add(\n  1); }\n"),
    ("defaulted-order", "sched/a.cpp", "void f() { a.compare_exchange_strong(b, c); }\n"),
    ("defaulted-order", "sched/a.cpp", "std::atomic<int> n{0};\nvoid f() { ++n; }\n"),
    ("defaulted-order", "sched/a.cpp", "std::atomic<int> n{0};\nvoid f() { n += 2; }\n"),
    ("defaulted-order", "sched/a.cpp", "std::atomic<int> n{0};\nvoid f() { n = 2; }\n"),
    ("defaulted-order", "sched/a.cpp", "std::atomic<int> n[2];\nvoid f() { n[0]++; }\n"),
    ("defaulted-order", "sched/a.cpp", "std::atomic_flag f;\nvoid g() { f.clear(); }\n"),
    ("forbidden-order", "tests/a.cpp", FENCE),
    ("forbidden-order", "tests/a.cpp", "a.load(std::memory_order" + "_consume);\n"),
    ("forbidden-order", "tests/a.cpp", "a.load(std::memory_order::" + "consume);\n"),
    ("unreached-point", "queues/a.cpp", 'void f() { MESH_POINT("a.b:nobody_comes_here"); }\n'),
    ("print-in-library", "queues/a.cpp", 'void f() { printf("x"); }\n'),
    ("print-in-library", "engine/a.cpp", "void f() { std::cerr << 1; }\n"),
    ("print-in-library", "sched/a.cpp", "void f() { std::cout << 1'000; }\n"),
    ("abort", "shm/a.cpp", "void f() { std::abort(); }\n"),
    ("abort", "tools/a.cpp", "void f() { std::terminate(); }\n"),
    ("sleep-in-test", "tests/a.cpp", "void f() { std::this_thread::sleep_for(1ms); }\n"),
    ("sleep-in-test", "tests/a.cpp", "void f() { usleep(1); }\n"),
    ("sleep-in-test", "tests/a.cpp", "void f() { nanosleep(&a, nullptr); }\n"),
    ("forbidden-folder", "engine/utils/a.hpp", H),
    ("forbidden-folder", "tests/common/a.hpp", H),
    ("machine-path", "docs/b.md", "See /ho" + "me/somebody/x.\n"),
    ("machine-path", "tools/a.cpp", 'const char* p = "/wo' + 'rk/x";\n'),
    ("unfinished", "tools/a.cpp", "// TO" + "DO: the rest\n"),
    ("unfinished", "dev", "# FIX" + "ME\n"),
    ("file-length", "shm/long.hpp", H + "\n" * tidy.HEADER_LINES_MAX),
    ("file-length", "shm/long.cpp", "\n" * (tidy.SOURCE_LINES_MAX + 1)),
    ("line-length", "shm/a.cpp", "//" + "x" * (tidy.COLUMNS_MAX - 1) + "\n"),
    ("dangling-range", "shm/a.cpp", "void f() {\n  for (int i : find(1)->all) use(i);\n}\n"),
    ("pragma-once", "shm/a.hpp", "// #pragma once\nstruct A {};\n"),
    ("function-branches", "shm/a.cpp", "void f() {\n" + TEN + "while (a) b();\n}\n"),
    ("function-branches", "tests/a.cpp", "TEST(A, B) {\n  auto c = [] {" + TEN + "};\nfor (;;) c();\n}\n"),
    ("function-branches", "sched/a.hpp", H + "struct alignas(64) S {\n  void f() const {\n" + TEN + "switch (a) {}\n}};\n"),
    ("function-branches", "sched/a.hpp", H + "template <class T>\nT f() noexcept(true) {\n" + TEN + "for (;;) {}\n}\n"),
    ("bad-allow", "shm/a.cpp", "int a;  // tidy: allow(abort)\n"),
    ("bad-allow", "shm/a.cpp", "int a;  // tidy: allow(no-such-rule) because it is so\n"),
]


class TidyTest(unittest.TestCase):
    def findings(self, files: dict[str, str]) -> list[tidy.Finding]:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for path, content in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(content, encoding="utf-8")
            return tidy.check(root)

    def test_good_tree_has_no_finding(self) -> None:
        self.assertEqual(self.findings(GOOD), [])

    def test_each_bad_tree_has_just_its_finding(self) -> None:
        for rule, path, content in BAD:
            if content is None:
                continue
            with self.subTest(rule=rule, path=path, content=content[:60]):
                found = self.findings(GOOD | {path: content})
                self.assertEqual([f.rule for f in found], [rule], [str(f) for f in found])
                self.assertTrue(path.startswith(found[0].path), found[0].path)

    def test_room_files_names_each_missing_file(self) -> None:
        for path in [p for p in GOOD if "coordination/lease" in p]:
            with self.subTest(path=path):
                files = {p: content for p, content in GOOD.items() if p != path}
                found = [f for f in self.findings(files) if f.rule == "room-files"]
                self.assertEqual(len(found), 1)
                self.assertIn(path, found[0].sentence)

    def test_every_rule_has_a_tree_that_breaks_it(self) -> None:
        self.assertEqual({rule for rule, _, _ in BAD}, set(tidy.RULES))

    def test_findings_name_the_line(self) -> None:
        found = self.findings(GOOD | {"shm/a.cpp": "\n/* two\nlines */ int a;\nint f() { abort(); }\n"})
        self.assertEqual([(f.path, f.line) for f in found], [("shm/a.cpp", 4)])

    def test_allow_with_a_reason_silences_its_rule_on_its_line_only(self) -> None:
        line = "void f() { abort(); }  // tidy: allow(abort) the child of a crash test\n"
        self.assertEqual(self.findings(GOOD | {"shm/a.cpp": line}), [])
        two = line + "void g() { abort(); }\n"
        self.assertEqual([f.line for f in self.findings(GOOD | {"shm/a.cpp": two})], [2])
        other = "void f() { abort(); }  // tidy: allow(line-length) the child of a crash test\n"
        self.assertEqual([f.rule for f in self.findings(GOOD | {"shm/a.cpp": other})], ["abort"])

    def test_skips_what_is_built(self) -> None:
        self.assertEqual(self.findings(GOOD | {"build/a.cpp": "void f() { abort(); }\n"}), [])

    def test_program_exits_1_on_a_finding_and_0_on_none(self) -> None:
        for files, status in ((GOOD, 0), (GOOD | {"shm/a.cpp": "void f() { abort(); }\n"}, 1)):
            with self.subTest(status=status), tempfile.TemporaryDirectory() as folder:
                for path, content in files.items():
                    target = pathlib.Path(folder) / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_text(content, encoding="utf-8")
                command = [sys.executable, str(ROOT / "tools" / "tidy.py"), "--root", folder]
                ended = subprocess.run(command, capture_output=True, text=True, check=False)
                self.assertEqual(ended.returncode, status, ended.stdout + ended.stderr)


if __name__ == "__main__":
    unittest.main()
