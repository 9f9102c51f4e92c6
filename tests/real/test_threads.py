"""The client library under ThreadSanitizer: many threads on libquoin and on libfdb_c.so, with clusters inside the process."""
import os
import subprocess

from harness import TOP

PROGRAMS = "tests/real/quoin-stress", "tests/real/quoin-fdb-calls"


def run(program, *arguments):
    """A report of the sanitizer ends the program with 66. Where addresses are drawn, the engine's map may find no room beside the
    sanitizer's shadow, hence setarch."""
    done = subprocess.run(["setarch", "-R", os.path.join(TOP, "build/tsan", program), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=120, env=dict(os.environ, TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1"))
    assert done.returncode == 0, f"{program} {arguments}: exit {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-6000:]}"
    print("      " + done.stdout.strip().replace("\n", "; "))


def test_many_threads_share_the_library_without_a_race(scratch, long):
    build = subprocess.run([os.path.join(TOP, "tools/build"), "tsan", *PROGRAMS], capture_output=True, text=True)
    assert build.returncode == 0, build.stdout[-3000:] + build.stderr[-3000:]
    seconds = "30" if long else "3"
    run(PROGRAMS[0], "memory:stress", "2", seconds)
    run(PROGRAMS[0], "embedded:" + scratch.path("data"), "1", seconds)
    run(PROGRAMS[1], "memory:", seconds)
