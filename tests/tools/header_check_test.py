"""tools/cmake/mesh_header_check.cmake refuses a header that does not compile alone, or not twice."""

import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROJECT = """cmake_minimum_required(VERSION 3.25)
project(check LANGUAGES CXX)
add_library(flags INTERFACE)
target_include_directories(flags INTERFACE "${PROJECT_SOURCE_DIR}")
include("%s/tools/cmake/mesh_header_check.cmake")
mesh_header_check(ROOT "${PROJECT_SOURCE_DIR}" BOXES box USES flags)
"""


class HeaderCheckTest(unittest.TestCase):
    def builds(self, header: str, source: str | None = None) -> tuple[bool, str]:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "box").mkdir()
            (root / "box" / "a.hpp").write_text(header, encoding="utf-8")
            if source is not None:
                (root / "box" / "a.cpp").write_text(source, encoding="utf-8")
            (root / "CMakeLists.txt").write_text(PROJECT % ROOT.as_posix(), encoding="utf-8")
            configure = ["cmake", "-G", "Ninja", "-S", folder, "-B", f"{folder}/build"]
            subprocess.run(configure, capture_output=True, text=True, check=True)
            build = ["cmake", "--build", f"{folder}/build", "--target", "mesh_header_check"]
            ended = subprocess.run(build, capture_output=True, text=True, check=False)
            return ended.returncode == 0, ended.stdout

    def test_accepts_a_header_that_includes_what_it_uses(self) -> None:
        ok, output = self.builds("#pragma once\n#include <cstdint>\ninline std::uint8_t a;\n")
        self.assertTrue(ok, output)

    def test_refuses_one_that_needs_an_include_before_it(self) -> None:
        ok, output = self.builds("#pragma once\ninline std::uint8_t a;\n")
        self.assertFalse(ok)
        self.assertIn("a.hpp", output)

    def test_refuses_one_without_a_guard(self) -> None:
        ok, output = self.builds("struct A {};\n")
        self.assertFalse(ok)
        self.assertIn("redefinition", output)

    def test_leaves_a_header_to_its_own_source_that_includes_it_first(self) -> None:
        ok, output = self.builds("#pragma once\n#include <cstdint>\n", '#include "box/a.hpp"\n')
        self.assertTrue(ok, output)
        self.assertNotIn("a.hpp.cpp", output)

    def test_checks_a_header_that_its_source_includes_after_another(self) -> None:
        ok, output = self.builds("#pragma once\ninline std::uint8_t a;\n", '#include <cstdint>\n#include "box/a.hpp"\n')
        self.assertFalse(ok)
        self.assertIn("a.hpp", output)

    def test_checks_a_header_whose_source_defines_something_before_it(self) -> None:
        ok, output = self.builds("#pragma once\nusing T = B;\n", '#define B int\n#include "box/a.hpp"\n')
        self.assertFalse(ok)
        self.assertIn("a.hpp", output)


if __name__ == "__main__":
    unittest.main()
