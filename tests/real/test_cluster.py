"""A cluster of real processes under kill -9, pauses, a restart of all and a full disk, with a client that checks.

quoin-checker writes unique keys and counters from many loops and notes each acknowledgement; afterwards it verifies that
every acknowledged write is there exactly once.
"""
import os
import signal
import subprocess
import sys
import time

from harness import BUILD, HERE, TOP, program, wait_until

KILL_CYCLES = 30
ROLES = ["sequencer", "grv_proxy", "commit_proxy", "resolver", "log", "storage", "coordinator", "controller"]
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
        self.process = scratch.start([self.program, "-C", cluster_file, "write", "--writers", "16", "--acks", self.acks],
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


def test_the_checker_notices_what_is_wrong(scratch, _):
    checker = Checker(scratch, scratch.start_cluster("--processes", "one"))
    checker.goes_on("the start", 20)
    checker.end()
    checker.verify()
    with open(checker.acks) as acks:
        writer, number = acks.readline().split()
    key, value = f"check/{writer}/{int(number):012}", f"value/{writer}/{int(number):012}"

    def shell(commands):
        subprocess.run([program("quoincli"), "-C", checker.file, "--exec", f"writemode on; {commands}"], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    for damage, repair in ((f"clear {key}", f"set {key} {value}"), (f"set {key} other", f"set {key} {value}"),
                           (f"set {key}x {value}", f"clear {key}x"), (f"clear count/{writer}", "get x")):
        shell(damage)
        run = checker.verification()
        assert run.returncode == 1 and "WRONG" in run.stdout, f"not noticed: {damage}: {run}"
        shell(repair)
        assert damage.startswith("clear count") or checker.verification().returncode == 0, f"still wrong after {repair}"


def test_thirty_kills_lose_nothing(scratch, long_):
    checker = Checker(scratch, scratch.start_cluster())
    checker.goes_on("the start", 20)
    for cycle in range(KILL_CYCLES * (4 if long_ else 1)):
        killed = act(scratch, "kill", ROLES[cycle % len(ROLES)])
        took = checker.goes_on(f"kill {cycle + 1}: {killed}")
        print(f"      {cycle + 1:3} {killed}: {took * 1000:.0f} ms to 64 more commits", flush=True)
    checker.end()
    print(f"      {checker.verify()}")


def test_a_restart_of_all_loses_nothing(scratch, _):
    file = scratch.start_cluster()
    checker = Checker(scratch, file)
    checker.goes_on("the start", 20)
    for _ in range(2):
        with open(scratch.path("cluster", "quoinmon.pid")) as pid:
            os.kill(int(pid.read()), signal.SIGKILL)  # which kills every process that it watches
        wait_until("all are gone", lambda: " up " not in scratch.local_cluster("status", *where(scratch), check=False).stdout)
        scratch.local_cluster("start", *where(scratch))
        checker.goes_on("the restart of all", 30)
    checker.end()
    checker.verify()
    scratch.local_cluster("stop", *where(scratch))
    scratch.local_cluster("start", *where(scratch))
    print(f"      {checker.verify()}")


def test_the_paused_can_not_commit_when_resumed(scratch, _):
    checker = Checker(scratch, scratch.start_cluster())
    checker.goes_on("the start", 20)
    for role in ("sequencer", "grv_proxy", "commit_proxy", "resolver", "log", "storage", "controller"):
        paused = act(scratch, "pause", role)
        took = checker.goes_on(f"pausing {paused}", 20)
        print(f"      {paused} paused: {took * 1000:.0f} ms to 64 more commits", flush=True)
        scratch.local_cluster("resume", paused.split()[1], *where(scratch))
        checker.goes_on(f"resuming {paused}")
    checker.end()
    print(f"      {checker.verify()}")


def test_after_the_death_of_any_one_for_good_the_rest_go_on(scratch, _):
    checker = Checker(scratch, scratch.start_cluster())
    checker.goes_on("the start", 20)
    for role in ("sequencer", "log", "coordinator"):
        killed = act(scratch, "kill", role, "--for-good")
        checker.goes_on(f"kill --for-good {killed}")
    checker.end()
    print(f"      {checker.verify()}")


def test_a_full_disk_stops_commits_and_loses_nothing(scratch, _):
    if os.geteuid() != 0 and not os.environ.get("QUOIN_TEST_NAMESPACE"):
        run = subprocess.run(["unshare", "-Urm", sys.executable, os.path.join(HERE, "run.py"), "--only",
                              "test_a_full_disk_stops_commits_and_loses_nothing"],
                             env=dict(os.environ, QUOIN_TEST_NAMESPACE="1"), capture_output=True, text=True, timeout=300)
        assert run.stdout.strip().endswith("1 passed, 0 failed"), run.stdout + run.stderr
        return
    disk = scratch.path("cluster")
    os.makedirs(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512m", "tmpfs", disk], check=True)
    scratch.mounts.append(disk)
    checker = Checker(scratch, scratch.start_cluster("--processes", "one"))
    checker.goes_on("the start", 20)
    filler = os.path.join(disk, "filler")
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 65536)
        except OSError:
            pass

    def stands_still():
        before = checker.acknowledged()
        time.sleep(1.5)
        return checker.acknowledged() == before

    wait_until("commits stop", stands_still, 60)
    time.sleep(1)
    os.unlink(filler)
    checker.goes_on("there is space again", 40)
    checker.end()
    print(f"      {checker.verify()}")


def test_local_cluster_says_what_is_wrong(scratch, _):
    file = scratch.start_cluster("--processes", "one")
    port = open(file).read().strip().rsplit(":", 1)[1]
    again = scratch.local_cluster("start", *where(scratch))
    assert again.stdout.strip().endswith(file) and "already running" in again.stdout, again.stdout
    other = scratch.local_cluster("start", "--dir", scratch.path("other"), "--port", port, "--processes", "one", check=False)
    assert other.returncode == 1 and f"port {port} is in use by pid" in other.stderr, other
    for words in (["kill", "king"], ["kill", "127.0.0.1:1"], ["frobnicate"], ["start", "--colour"], ["kill"]):
        run = scratch.local_cluster(*words, *where(scratch), check=False)
        assert run.returncode != 0 and run.stderr.startswith("local-cluster: "), run
    scratch.local_cluster("stop", *where(scratch))
    assert scratch.local_cluster("kill", "log", *where(scratch), check=False).returncode == 1
