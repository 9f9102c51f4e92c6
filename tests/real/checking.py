"""A running quoin-checker, and how the tests of clusters act upon processes.

quoin-checker writes unique keys and counters from many loops and notes each acknowledgement; afterwards it verifies that
every acknowledged write is there exactly once.
"""
import os
import signal
import subprocess
import sys
import time

from harness import BUILD, HERE, TOP, wait_until

RESUME_S = 10  # commits go on within this many seconds, on a machine that tests share


class Checker:
    """A running `quoin-checker write`, and the verification of what it was told."""

    def __init__(self, scratch, cluster_file, name="acks"):
        self.program = os.path.join(TOP, "build", BUILD, "tests/real/quoin-checker")
        if not os.path.exists(self.program):
            raise AssertionError(f"no build/{BUILD}/tests/real/quoin-checker")
        self.file = cluster_file
        self.acks = scratch.path(name)
        self.log = open(scratch.path(f"checker-{name}.log"), "a")
        self.process = scratch.start([self.program, "-C", cluster_file, "write", "--writers", "16", "--acks", self.acks,
                                      "--versions", scratch.path("versions")],
                                     stdout=self.log, stderr=self.log)

    def acknowledged(self):
        try:
            with open(self.acks, "rb") as file:
                return file.read().count(b"\n")
        except FileNotFoundError:
            return 0

    def goes_on(self, what, seconds=RESUME_S):
        """Commits begun from here on are acknowledged; returns how long that took."""
        began, before = time.monotonic(), self.acknowledged()
        wait_until(f"commits go on after {what}", lambda: self.acknowledged() > before + 64, seconds)
        return time.monotonic() - began

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, f"the checker failed: {open(self.log.name).read()[-2000:]}"

    def verification(self):
        return subprocess.run([self.program, "-C", self.file, "verify", "--acks", self.acks], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120)

    def verify(self):
        run = self.verification()
        assert run.returncode == 0, f"{run.stdout[-2000:]}{run.stderr[-2000:]}"
        return run.stdout.strip()


def where(scratch):
    return ("--dir", scratch.path("cluster"))


def act(scratch, verb, who, *more):
    """Kills or pauses a role, as soon as one runs it; returns what local-cluster printed."""
    return wait_until(f"{verb} {who}", lambda: scratch.local_cluster(verb, who, *more, *where(scratch), check=False).stdout.strip())


def running(scratch, role):
    """The addresses of the processes that run a role."""
    lines = scratch.local_cluster("status", *where(scratch), check=False).stdout.splitlines()
    return [line.split()[0] for line in lines if line.startswith("127.0.0.1:") and role in line.split()[5:]]


def in_a_namespace(name):
    """Mounting needs root, or a namespace: runs the test `name` again in one where that is needed. True: it is done."""
    if os.geteuid() == 0 or os.environ.get("QUOIN_TEST_NAMESPACE"):
        return False
    run = subprocess.run(["unshare", "-Urm", sys.executable, os.path.join(HERE, "run.py"), "--only", name],
                         env=dict(os.environ, QUOIN_TEST_NAMESPACE="1"), capture_output=True, text=True, timeout=300)
    assert run.stdout.strip().endswith("1 passed, 0 failed"), run.stdout + run.stderr
    return True


def small_disk(scratch, directory, mebibytes):
    os.makedirs(directory, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", directory], check=True)
    scratch.mounts.append(directory)


def fill(directory):
    """A file that takes all the space there is; returns its path."""
    filler = os.path.join(directory, "filler")
    with open(filler, "ab", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass
    return filler


def stands_still(checker, seconds=1.5):
    before = checker.acknowledged()
    time.sleep(seconds)
    return checker.acknowledged() == before
