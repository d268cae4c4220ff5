"""The door itself: ./dev says what it can do, refuses what it cannot, and its package list is whole."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
VERBS = "setup build demo test asan tsan arm64 fuzz stress bench lint fmt cover help".split()


def dev(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(ROOT / "dev"), *arguments], capture_output=True, text=True, check=False)


def sections() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    name = ""
    for line in (ROOT / "tools" / "packages.txt").read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\[([\w-]+)\]", line):
            name = match.group(1)
            found[name] = []
        elif line and not line.startswith("#"):
            found[name].append(line)
    return found


class DevTest(unittest.TestCase):
    def test_help_prints_each_verb_with_a_sentence(self) -> None:
        for arguments in (["help"], ["--help"], []):
            ended = dev(*arguments)
            self.assertEqual(ended.returncode, 0)
            said = dict(re.findall(r"^  (\w+) +(\S.*)$", ended.stdout, re.MULTILINE))
            self.assertEqual(set(said), set(VERBS))
            self.assertTrue(all(len(sentence.split()) > 2 for sentence in said.values()))

    def test_the_commit_tier_has_one_seed_unless_another_is_wanted_or_drawn(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("ctest", "echo seed=${MESH_TEST_SEED:-drawn}"), ("cmake", "true")):
                program = pathlib.Path(folder) / name
                program.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
                program.chmod(0o755)
            environment = {key: value for key, value in os.environ.items() if key != "MESH_TEST_SEED"}
            environment["PATH"] = f"{folder}:{os.environ['PATH']}"

            def seed_of(verb: str, **more: str) -> str:
                return subprocess.run([str(ROOT / "dev"), verb], env=dict(environment, **more), capture_output=True,
                                      text=True, check=False).stdout.splitlines()[0]

            self.assertRegex(seed_of("test"), r"^seed=\d+$")
            self.assertEqual(seed_of("test"), seed_of("test"))
            self.assertEqual(seed_of("test", MESH_TEST_SEED="7"), "seed=7")
            self.assertEqual(seed_of("test", MESH_TEST_SEED="draw"), "seed=drawn")
            self.assertEqual(seed_of("stress"), "seed=drawn")

    def test_unknown_verb_is_bad_input_and_shows_the_help(self) -> None:
        for verb in ("tset", "verb_test", "need", "-x", "a b", ""):
            ended = dev(verb)
            self.assertEqual(ended.returncode, 2, verb)
            self.assertIn(f"no verb '{verb}'", ended.stderr)
            self.assertIn("usage", ended.stderr)

    def test_every_section_that_a_verb_names_lists_packages(self) -> None:
        script = (ROOT / "dev").read_text(encoding="utf-8")
        named = set(" ".join(re.findall(r"^  need ([\w -]+)$", script, re.MULTILINE)).split())
        self.assertGreater(len(named), 5)
        self.assertLessEqual(named | {"arm64-sysroot"}, set(sections()))
        for name, packages in sections().items():
            self.assertTrue(packages, name)
            self.assertEqual(len(packages), len(set(packages)), name)
            for package in packages:
                self.assertRegex(package, r"^[a-z0-9][a-z0-9.+-]+$")

    def test_a_verb_needs_all_that_the_preset_it_compiles_looks_for(self) -> None:
        script = (ROOT / "dev").read_text(encoding="utf-8")
        presets = {
            one["name"]: one.get("cacheVariables", {})
            for one in json.loads((ROOT / "CMakePresets.json").read_text(encoding="utf-8"))["configurePresets"]
        }
        compiled = 0
        for verb, body in re.findall(r"^verb_(\w+)\(\)(.*?)^}", script, re.MULTILINE | re.DOTALL):
            needed = set(" ".join(re.findall(r"^ +need ([\w -]+)$", body, re.MULTILINE)).split())
            for preset in re.findall(r"^ +compile ([\w-]+)", body, re.MULTILINE):
                compiled += 1
                wanted = {"build"}
                for option, section in (("MESH_TESTS", "test"), ("MESH_BENCH", "bench")):
                    if presets[preset].get(option, "ON") != "OFF":
                        wanted.add(section)
                self.assertLessEqual(wanted, needed, f"./dev {verb} compiles {preset}")
        self.assertGreater(compiled, 5)

    def test_setup_covers_every_section(self) -> None:
        script = (ROOT / "dev").read_text(encoding="utf-8")
        setup = re.search(r"^verb_setup\(\).*?^  need ([\w -]+)$", script, re.MULTILINE | re.DOTALL)
        self.assertIsNotNone(setup)
        self.assertEqual(set(setup.group(1).split()), set(sections()) - {"arm64-sysroot"})

    def test_ci_runs_the_test_verb_and_nothing_else(self) -> None:
        lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
        self.assertEqual(len(lines), 2)
        self.assertTrue(lines[1].endswith('/../dev" test'))


if __name__ == "__main__":
    unittest.main()
