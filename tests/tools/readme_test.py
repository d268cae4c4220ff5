"""What README.md shows is what happens: its shell session is run, line by line, and its agent is the example's code."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PATIENCE_S = 60


def session() -> list[tuple[str, list[str]]]:
    """Each command of the section, and the lines that are shown below it."""
    section = README.split("<!-- shell -->")[1].split("```")[0]
    commands: list[tuple[str, list[str]]] = []
    for line in section.splitlines():
        if line.startswith("    $ "):
            commands.append((line[6:], []))
        elif line.startswith("    ") and commands:
            commands[-1][1].append(line[4:])
    return commands


def without_figures(line: str) -> str:
    """As measured, and as it is counted from a start of the engine; whether two agents are in time is the machine's."""
    line = re.sub(r"\d+\.\d+ ms", "N ms", line)
    if re.match(r"(arrivals|engine|operation|SUCCESS|PARTIAL|quorum|not ready|advice)\b", line):
        return line.split(maxsplit=1)[0].replace("PARTIAL:", "SUCCESS:")
    return line


class ReadmeTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory(dir="/dev/shm")
        self.environment = dict(os.environ, XDG_RUNTIME_DIR=self.folder.name)
        self.environment["PATH"] = f"{TOOLS}:{os.environ['PATH']}"
        self.background: list[subprocess.Popen[str]] = []

    def tearDown(self) -> None:
        for process in self.background:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.folder.cleanup()

    def run_line(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", "-c", command], env=self.environment, capture_output=True, text=True,
                              timeout=PATIENCE_S, check=False)

    def start(self, command: str, is_there: str) -> None:
        """In the background, as a person does it; the next line is typed once `is_there` says so."""
        self.background.append(subprocess.Popen(["bash", "-c", "exec " + command], env=self.environment, text=True,
                                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                                start_new_session=True))
        end = time.monotonic() + PATIENCE_S
        while self.run_line(is_there).returncode != 0:
            self.assertLess(time.monotonic(), end, f"{command}: never came up")
            self.assertIsNone(self.background[-1].poll(), f"{command}: ended")

    def test_the_shell_session_prints_what_is_shown(self) -> None:
        commands = session()
        self.assertGreaterEqual(len(commands), 7)
        agents = 0
        for command, shown in commands:
            if command.endswith(" &"):
                agents += command.startswith("mesh agent")
                self.start(command.removesuffix(" &"), f"mesh status --json | grep -q '\"agents_active\": {agents},'")
                continue
            said = [without_figures(line) for line in self.run_line(command).stdout.splitlines()]
            self.assertEqual([line for line in said if line not in ("not", "advice")],
                             [without_figures(line) for line in shown], command)
        for process in self.background:  # the engine is down, so its agents end
            process.wait(timeout=PATIENCE_S)

    def test_the_agent_is_the_example_and_answers(self) -> None:
        code = README.split("```cpp\n")[1].split("```")[0]
        self.assertTrue(code.startswith("int main"))
        self.assertIn(code, (ROOT / "examples" / "first_agent.cpp").read_text(encoding="utf-8"))
        mesh = f"{self.folder.name}/mesh"
        self.start(f"mesh up --agents 30 --dir {mesh}", f"mesh status --dir {mesh}")
        self.start(f"{AGENT} {mesh} mine", f"mesh status --json --dir {mesh} | grep -q '\"agents_active\": 1,'")
        answered = self.run_line(f"mesh send mine 'hello, agent' --dir {mesh}")
        self.assertRegex(answered.stdout, r"^READY, [\d.]+ ms\n12 bytes\n$")
        refused = self.run_line(f"mesh send mine stop --dir {mesh}")
        self.assertRegex(refused.stdout, r"^CONFLICT \(other")
        self.assertEqual(refused.returncode, 1)
        self.assertEqual(self.run_line(f"mesh down --dir {mesh}").returncode, 0)
        self.assertEqual(self.background[-1].wait(timeout=PATIENCE_S), 0)


if __name__ == "__main__":
    AGENT = pathlib.Path(sys.argv.pop())
    TOOLS = pathlib.Path(sys.argv.pop())
    unittest.main()
