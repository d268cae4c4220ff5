"""Whether an archive needs nothing of the system but memory, mathematics and text.

    stands_alone.py NM ARCHIVE

Reads the archive's undefined symbols and fails on one that makes sockets, shared memory, files,
processes or threads, or waits. Fails also where it finds none of what every such archive needs: then
it has read nothing.
"""

import re
import subprocess
import sys

FORBIDDEN = re.compile(
    r"^(socket(pair)?|bind|listen|accept4?|connect|send(to|msg|mmsg)?|recv(from|msg|mmsg)?|[gs]etsockopt"
    r"|mmap(64)?|munmap|mremap|msync|shm_(open|unlink)|shm(get|at|dt|ctl)|memfd_create"
    r"|open(at)?(64)?|creat(64)?|fopen(64)?|fdopen|freopen(64)?|read|write|p?(read|write)v?(64)?|ioctl|fcntl(64)?"
    r"|fork|vfork|clone3?|exec(v|ve|vp|vpe|l|le|lp)|posix_spawnp?|system|popen|kill|waitpid|wait4?"
    r"|pthread_\w+|sem_\w+|thrd_\w+|mtx_\w+|futex|syscall|e?poll(_\w+)?|select|pselect|eventfd|timerfd_\w+"
    r"|clock_gettime|gettimeofday|time|clock|nanosleep|clock_nanosleep|usleep|sleep|getenv|secure_getenv"
    r"|_ZNSt6thread\w*|_ZNSt6chrono3_V212s\w*_clock3nowEv|_ZNSt13basic_filebuf\w*|_ZNSt10filesystem\w*"
    r"|_ZN4mesh(6engine|6queues|5sched)\w*)$")
NEEDED = {"memcpy", "_ZdlPvm", "_Znwm"}  # bytes are copied, memory is taken at construction


def undefined_symbols(nm: str, archive: str) -> dict[str, set[str]]:
    """Symbol without its version -> the archive's members that need it and do not define it."""
    text = subprocess.run([nm, "--undefined-only", "--print-file-name", archive],
                          check=True, capture_output=True, text=True).stdout
    needed: dict[str, set[str]] = {}
    for line in text.splitlines():
        where, _, symbol = line.rpartition(" ")
        needed.setdefault(symbol.partition("@")[0], set()).add(where.split(":")[1])
    return needed


def main() -> int:
    nm, archive = sys.argv[1:]
    needed = undefined_symbols(nm, archive)
    if not NEEDED & needed.keys():
        print(f"{archive}: none of {sorted(NEEDED)} is needed; nothing was read")
        return 1
    bad = sorted(symbol for symbol in needed if FORBIDDEN.match(symbol))
    for symbol in bad:
        print(f"{symbol} is needed by {', '.join(sorted(needed[symbol]))}")
    print(f"{archive}: {len(needed)} symbols from outside its members, {len(bad)} that it must not need")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
