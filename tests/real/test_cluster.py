"""A cluster of real processes under kill -9, pauses and a restart of all, with a client that checks."""
import os
import signal
import subprocess

from checking import Checker, act, running, where
from harness import program, wait_until

KILL_CYCLES = 30
ROLES = ["sequencer", "grv_proxy", "commit_proxy", "resolver", "log", "storage", "coordinator", "controller"]


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
    with open(scratch.path("versions"), "r+b") as versions:
        versions.write((1 << 60).to_bytes(8, "little"))
    stale = Checker(scratch, checker.file, "stale")
    assert stale.process.wait(20) == 1 and "WRONG: the read version" in open(stale.log.name).read()


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
    """A second client sleeps along with the old process, and wakes up with connections to it alone."""
    checker = Checker(scratch, scratch.start_cluster())
    checker.goes_on("the start", 20)
    sleeper = Checker(scratch, checker.file, "sleeper")
    for role in ("sequencer", "grv_proxy", "commit_proxy", "resolver", "log", "storage", "controller"):
        sleeper.goes_on("its start", 20)
        sleeper.process.send_signal(signal.SIGSTOP)
        paused = act(scratch, "pause", role)
        took = checker.goes_on(f"pausing {paused}", 20)
        print(f"      {paused} paused: {took * 1000:.0f} ms to 64 more commits", flush=True)
        address = paused.split()[1]
        if role not in ("log", "storage"):
            wait_until(f"another process is {role}", lambda: any(a != address for a in running(scratch, role)), 20)
        sleeper.process.send_signal(signal.SIGCONT)
        scratch.local_cluster("resume", address, *where(scratch))
        checker.goes_on(f"resuming {paused}")
        sleeper.goes_on(f"resuming {paused}")
    for client in (checker, sleeper):
        client.end()
    with open(checker.acks, "ab") as both, open(sleeper.acks, "rb") as more:
        both.write(more.read())
    print(f"      {checker.verify()}")


def test_after_the_death_of_any_one_for_good_the_rest_go_on(scratch, _):
    checker = Checker(scratch, scratch.start_cluster())
    checker.goes_on("the start", 20)
    for role in ("sequencer", "log", "coordinator"):
        killed = act(scratch, "kill", role, "--for-good")
        checker.goes_on(f"kill --for-good {killed}")
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
