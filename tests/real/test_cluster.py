"""A cluster of real processes under kill -9, pauses and a restart of all, with a client that checks."""
import json
import os
import signal
import subprocess

from checking import Checker, act, running, stands_still, where
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


def cluster_of(file):
    run = subprocess.run([program("quoincli"), "-C", file, "--timeout", "10", "--exec", "status json"], stdin=subprocess.DEVNULL,
                         capture_output=True, text=True)
    try:
        return {"processes": {}, "fault_tolerance": {}} | json.loads(run.stdout)["cluster"]
    except (ValueError, KeyError):
        return {"processes": {}, "fault_tolerance": {}}


def edit_conf(scratch, change):
    """The supervisor sees the new one at once, and starts anew what it changes."""
    conf = scratch.path("cluster", "quoin.conf")
    text = change(open(conf).read())
    with open(conf + ".new", "w") as new:
        new.write(text)
    os.rename(conf + ".new", conf)


def share_zones(scratch, file, pairs):
    """A zone for each pair of ports; the processes start again in it."""
    def change(text):
        for zone, ports in pairs.items():
            for port in ports:
                text = text.replace(f"[quoind.{port}]\n", f"[quoind.{port}]\nlocality_zoneid = {zone}\n")
        return text
    edit_conf(scratch, change)
    wait_until("the zones are shared", lambda: all(
        sum(process["fault_domain"] == zone for process in cluster_of(file)["processes"].values()) == 2 for zone in pairs), 30, 0.3)


def test_as_many_zones_may_fail_as_status_says_and_no_more(scratch, _):
    checker = Checker(scratch, scratch.start_cluster())

    def of_class(name):
        return sorted(int(p["address"].rsplit(":", 1)[1]) for p in cluster_of(checker.file)["processes"].values() if p["class_type"] == name)

    def may_fail(zones):
        tolerance = cluster_of(checker.file)["fault_tolerance"]
        return [tolerance.get(f"max_zone_failures_without_losing_{what}") for what in ("data", "availability")] == [zones, zones]

    def lose(zone):
        for port in pairs[zone]:
            scratch.local_cluster("kill", f"127.0.0.1:{port}", "--for-good", *where(scratch))

    checker.goes_on("the start", 20)
    pairs = dict(zip("ABC", zip(of_class("coordinator"), of_class("log"))))  # a coordinator and a log fail together
    share_zones(scratch, checker.file, pairs)
    checker.goes_on("the new zones", 20)
    wait_until("one zone may fail", lambda: may_fail(1), 30, 0.3)
    lose("A")
    checker.goes_on("the end of zone A")
    wait_until("none may fail", lambda: may_fail(0), 30, 0.3)
    lose("B")
    wait_until("commits stand still without zone B", lambda: stands_still(checker), 20)
    edit_conf(scratch, lambda text: text.replace(f"#[quoind.{pairs['B'][0]}]\n#locality_zoneid = B\n#class", f"[quoind.{pairs['B'][0]}]\nclass"))
    checker.goes_on("the return of one coordinator", 30)
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
