"""The supervisor, with a stand-in for quoind: starts, restarts with a back-off, follows edits, leaves with its children."""
import os
import signal
import subprocess
import sys
import time

from harness import HERE, alive, program, wait_until


def conf(scratch, *sections, general="", defaults=""):
    text = f"[general]\ncluster_file = /c\n{general}\n[quoind]\ncommand = {sys.executable} {HERE}/stand_in.py\n" \
           f"public_address = auto:$ID\ndatadir = {scratch.path('data')}/$ID\n{defaults}\n" + "\n".join(sections) + "\n"
    scratch.write("new", text)
    os.rename(scratch.path("new"), scratch.path("quoin.conf"))


def starts(scratch, id_):
    """[(pid, arguments)] of every start of a process."""
    try:
        with open(scratch.path("data", str(id_), "starts")) as file:
            return [(int(line.split(" ", 1)[0]), line.split(" ", 1)[1].strip()) for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []


def monitor(scratch):
    log = open(scratch.path("quoinmon.log"), "a")
    return scratch.start([program("quoinmon"), "--conffile", scratch.path("quoin.conf")], stdout=log, stderr=log)


def log_of(scratch):
    with open(scratch.path("quoinmon.log")) as file:
        return file.read()


def nth_start(scratch, id_, count):
    return wait_until(f"start {count} of {id_}", lambda: len(starts(scratch, id_)) >= count and starts(scratch, id_))[-1]


def test_quoinmon_restarts_what_is_killed(scratch, _):
    conf(scratch, "[quoind.1]", "[quoind.2]\nclass = log")
    monitor(scratch)
    first, arguments = nth_start(scratch, 1, 1)
    other, _ = nth_start(scratch, 2, 1)
    assert arguments == f"-p 127.0.0.1:1 -d {scratch.path('data')}/1 -C /c", arguments
    began = time.monotonic()
    os.kill(first, signal.SIGKILL)
    second, _ = nth_start(scratch, 1, 2)
    assert time.monotonic() - began < 1, "the first restart is not at once"
    assert second != first and alive(other) and len(starts(scratch, 2)) == 1


def test_quoinmon_waits_longer_each_time(scratch, _):
    os.makedirs(scratch.path("data", "1"))
    open(scratch.path("data", "1", "die"), "w").close()
    conf(scratch, "[quoind.1]", general="restart_delay = 0.8\ninitial_restart_delay = 0.1\n")
    monitor(scratch)
    time.sleep(2.5)
    count = len(starts(scratch, 1))
    assert 4 <= count <= 6, f"0, 0.1, 0.3, 0.7, 1.5, 2.3 s make 6 starts at most, not {count}"
    os.unlink(scratch.path("data", "1", "die"))
    pid, _ = nth_start(scratch, 1, count + 1)
    wait_until("it stays", lambda: alive(pid))


def test_quoinmon_follows_edits(scratch, _):
    conf(scratch, "[quoind.1]", "[quoind.2]", "[quoind.3]")
    mon = monitor(scratch)
    first = [nth_start(scratch, i, 1)[0] for i in (1, 2, 3)]
    conf(scratch, "[quoind.1]", "[quoind.2]\nclass = storage", "[quoind.4]")
    nth_start(scratch, 4, 1)
    assert "-c storage" in nth_start(scratch, 2, 2)[1]
    wait_until("3 is gone", lambda: not alive(first[2]))
    assert alive(first[0]) and len(starts(scratch, 1)) == 1 and len(starts(scratch, 3)) == 1
    assert mon.poll() is None


def test_quoinmon_keeps_what_runs_when_told_so(scratch, _):
    conf(scratch, "[quoind.1]", "[quoind.2]", general="kill_on_configuration_change = false")
    monitor(scratch)
    one, two = nth_start(scratch, 1, 1)[0], nth_start(scratch, 2, 1)[0]
    conf(scratch, "[quoind.1]\nclass = log", general="kill_on_configuration_change = false")
    wait_until("it says so", lambda: log_of(scratch).count("left running") == 2)
    assert alive(one) and alive(two)
    os.kill(one, signal.SIGKILL)
    os.kill(two, signal.SIGKILL)
    assert "-c log" in nth_start(scratch, 1, 2)[1]
    time.sleep(0.3)
    assert len(starts(scratch, 2)) == 1, "a removed process was started again"


def test_quoinmon_goes_on_with_the_old_conf_when_the_new_one_is_bad(scratch, _):
    conf(scratch, "[quoind.1]")
    mon = monitor(scratch)
    pid, _ = nth_start(scratch, 1, 1)
    conf(scratch, "[quoind.1]\nflavour = mint")
    wait_until("it names the line", lambda: "unknown key `flavour`" in log_of(scratch) and "line 10" in log_of(scratch))
    assert mon.poll() is None and alive(pid)
    os.kill(pid, signal.SIGKILL)
    nth_start(scratch, 1, 2)


def test_quoinmon_refuses_a_bad_conf_at_start(scratch, _):
    conf(scratch, "[quoind.none]")
    run = subprocess.run([program("quoinmon"), "--conffile", scratch.path("quoin.conf")], capture_output=True, text=True)
    assert run.returncode == 1 and "line 9" in run.stderr and "what follows the dot" in run.stderr, run
    run = subprocess.run([program("quoinmon"), "--conffile", "/nonexistent"], capture_output=True, text=True)
    assert run.returncode == 1 and "can't open" in run.stderr, run
    run = subprocess.run([program("quoinmon"), "--colour"], capture_output=True, text=True)
    assert run.returncode == 2 and "--colour" in run.stderr, run
    run = subprocess.run([program("quoinmon"), "--help"], capture_output=True, text=True)
    assert run.returncode == 0 and "[quoind.4500]" in run.stdout, run


def test_quoinmon_passes_signals_on_and_waits(scratch, _):
    conf(scratch, "[quoind.1]", "[quoind.2]")
    mon = monitor(scratch)
    pids = [nth_start(scratch, i, 1)[0] for i in (1, 2)]
    os.kill(pids[1], signal.SIGSTOP)  # a paused one must leave too
    mon.send_signal(signal.SIGTERM)
    assert mon.wait(5) == 0
    assert not alive(pids[0]) and not alive(pids[1])


def test_long_quoinmon_kills_what_does_not_end(scratch, _):
    os.makedirs(scratch.path("data", "1"))
    open(scratch.path("data", "1", "deaf"), "w").close()
    conf(scratch, "[quoind.1]")
    mon = monitor(scratch)
    pid, _ = nth_start(scratch, 1, 1)
    time.sleep(0.1)
    mon.send_signal(signal.SIGTERM)
    assert mon.wait(15) == 0 and not alive(pid)


def test_quoinmon_takes_its_children_along(scratch, _):
    conf(scratch, "[quoind.1]", "[quoind.2]")
    mon = monitor(scratch)
    pids = [nth_start(scratch, i, 1)[0] for i in (1, 2)]
    mon.kill()
    mon.wait()
    wait_until("the children are gone", lambda: not any(map(alive, pids)))


def test_quoinmon_costs_nothing_when_idle(scratch, _):
    conf(scratch, "[quoind.1]")
    mon = monitor(scratch)
    nth_start(scratch, 1, 1)
    time.sleep(0.2)

    def switches():
        with open(f"/proc/{mon.pid}/status") as file:
            return sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)

    before = switches()
    time.sleep(1)
    assert switches() - before <= 1, "it wakes up without an event"
