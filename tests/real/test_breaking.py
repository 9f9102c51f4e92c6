"""A sample of all that breaks a cluster of real processes; tests/real/kill-cycles does more of it."""
import json
import os
import subprocess

from breaking import FILE_FAULTS, NETWORK_STRIKES, Broken, History, Relay, built
from harness import free_ports, program

SECONDS = 0.4


def test_a_strike_of_every_kind_loses_nothing(scratch, long_):
    broken = Broken(scratch, seed=1, network=True, files=True, pause_max_s=30.0 if long_ else 1.5)
    for kind in ["kill"] * 4 + ["kill-all", "pause", "pause", "restart", "storm"]:
        what, seconds = broken.strike(kind)
        print(f"      {what}: {seconds:.2f} s", flush=True)
    for kind in NETWORK_STRIKES:
        print(f"      {broken.strike_network(kind, SECONDS)}: {broken.history.goes_on(kind):.2f} s", flush=True)
    for fault in FILE_FAULTS:
        print(f"      {broken.strike_files(fault, SECONDS)}: {broken.history.goes_on(fault):.2f} s", flush=True)
    print("      " + broken.history.verdict().replace("\n", "\n      "))
    counts = broken.relay.tell()
    assert all(counts[what] > 0 for what in ("cut", "delay", "reset", "half-open")), f"the relay broke nothing: {counts}"
    assert broken.hits() > 0, "no file call was struck"


def test_a_history_that_can_not_be_is_noticed(scratch, _):
    """Somebody else clears what the clients wrote: reads of what nobody wrote, commits that are lost."""
    file = scratch.start_cluster("--processes", "one")
    for keys, oracle in (("history/mix/ history/mix0", "mix"), ("history/lists/ history/lists0", "lists"),
                         ("history/mix-log/ history/mix-log0", "mix")):
        history = History(scratch, file, seed=1)
        history.goes_on("the start")
        history.goes_on("some more")
        subprocess.run([program("quoincli"), "-C", file, "--exec", f"writemode on; clearrange {keys}"], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        history.goes_on(f"the clearing of {keys}")
        history.process.terminate()
        assert history.process.wait(60) == 1 and f"WRONG: {oracle}" in history.said(), f"not noticed: {keys}: {history.said()}"


def test_the_relay_breaks_what_it_is_told_to(scratch, _):
    """Judged by the cluster: with its one process cut off a call times out, with bits flipped frames are refused."""
    first = free_ports(32)
    relay = Relay(scratch, [first])
    file = scratch.start_cluster("--processes", "one", "--listen-offset", "16", port=first)

    def shell(commands, timeout):
        run = subprocess.run([program("quoincli"), "-C", file, "--timeout", str(timeout), "--exec", commands], stdin=subprocess.DEVNULL,
                             capture_output=True, text=True, timeout=60)
        return run.returncode, run.stdout

    def bad_frames():
        return next(iter(json.loads(shell("status json", 20)[1])["cluster"]["processes"].values()))["network"]["bad_frames"]

    assert shell("writemode on; set a b; get a", 20)[0] == 0
    for way in ("there", "back"):
        relay.tell(rules=[{"do": "cut", "from": "client", "way": way}])
        assert shell("get a", 1)[0] != 0, f"an answer through a connection that is cut, {way}"
        relay.tell(rules=[])
        assert shell("get a", 20)[0] == 0
    before = bad_frames()
    relay.tell(rules=[{"do": "corrupt", "chance": 1, "way": "there"}])
    assert shell("get a", 1)[0] != 0
    relay.tell(rules=[])
    assert bad_frames() > before
    relay.tell(rules=[{"do": "refuse"}])
    assert shell("get a", 1)[0] != 0
    counts = relay.tell(rules=[])
    assert all(counts[what] > 0 for what in ("cut", "corrupt", "refuse")), counts


def test_two_syncs_of_a_file_under_way_both_hear_of_a_failure(scratch, _):
    plan = scratch.write("plan", f"sync {scratch.path('file')} EIO slow=1000 count=1\n")
    run = subprocess.run([built("quoin-two-syncs"), scratch.path("file")], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                         timeout=60, env=dict(os.environ, QUOIN_FILE_FAULTS=plan, LD_PRELOAD=built("libquoin-faulty-files.so")))
    assert run.returncode == 0 and run.stdout == "loop: io_error\nsyncer: io_error\n", run
