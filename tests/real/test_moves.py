"""Data that moves by itself, with real processes: new servers fill up, a dead one's copies are made again, the number of copies
changes, a process is drained; all under a checking load whose commits never stand still."""
import os
import shutil
import subprocess
import threading
import time

from checking import Checker, where
from harness import program, wait_until
from test_operator import Shell, addresses

STALL_MAX_S = 2.0
VALUE_BYTES = 1000
PAIR_BYTES = VALUE_BYTES + 16
RUNS_ON_MB_PER_S = 1.5  # no measure of a move: a machine that tests share may be slow, but not that slow


class Stalls:
    """How long the checking load stood still at most: the checker's file of acknowledgements grows with each of them."""

    def __init__(self, checker):
        self.path, self.worst_s, self.ending = checker.acks, 0.0, False
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        size, since = -1, time.monotonic()
        while not self.ending:
            try:
                now, grown = time.monotonic(), os.path.getsize(self.path)
            except FileNotFoundError:  # the test has failed, and its directory is gone
                return
            self.worst_s = max(self.worst_s, now - since)
            if grown != size:
                size, since = grown, now
            time.sleep(0.02)

    def end(self):
        self.ending = True
        self.thread.join()
        return self.worst_s


class Moving:
    """A cluster with data in it, and what is asked of it step by step."""

    def __init__(self, scratch, megabytes, *arguments):
        self.scratch, self.bytes = scratch, megabytes * 1000000
        self.file = scratch.start_cluster(*arguments)
        self.shell = Shell(self.file)
        self.checker = Checker(scratch, self.file)
        self.checker.goes_on("the start", 20)
        self.patience_s = 60 + megabytes / RUNS_ON_MB_PER_S
        self.stalls = Stalls(self.checker)
        self.load(megabytes * 1000000 // PAIR_BYTES)

    def load(self, keys):
        began = time.monotonic()
        run = subprocess.run([program("quoin-bench"), "--cluster", self.file, "--workload", "get", "--keys", str(keys), "--value-bytes",
                              str(VALUE_BYTES), "--warmup", "0", "--seconds", "2"], stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, timeout=self.patience_s)
        assert run.returncode == 0, run.stdout + run.stderr
        self.say(f"{keys} keys of {VALUE_BYTES} bytes loaded", began)

    def say(self, what, began):
        print(f"      {what}: {time.monotonic() - began:.1f} s", flush=True)

    def data(self):
        return self.shell.cluster().get("data", {})

    def is_whole(self, copies):
        state = self.data().get("state", {"name": "unknown"})
        return state["name"].startswith("healthy") and state["min_replicas_remaining"] == copies

    def is_at_rest(self, copies):
        data = self.data()
        return self.is_whole(copies) and data["moving_data"]["in_flight_bytes"] == data["moving_data"]["in_queue_bytes"] == 0

    def becomes_whole(self, what, copies=2):
        began = time.monotonic()
        wait_until(f"{copies} copies of all after {what}", lambda: self.is_at_rest(copies), self.patience_s, 0.3)
        self.say(f"{copies} copies of all after {what}", began)
        self.checker.goes_on(what)

    def held(self):
        """Address -> bytes of the shards that a storage server holds, by its sample; 0 of one that has not told yet."""
        found = {}
        for process in self.shell.cluster()["processes"].values():
            for role in process["roles"]:
                if role["role"] == "storage":
                    found[process["address"]] = role.get("held_bytes", 0)
        return found

    def add_storage(self, count):
        began, had = time.monotonic(), len(self.held())
        for _ in range(count):
            self.scratch.local_cluster("add", "storage", *where(self.scratch))

        def balanced():
            held = list(self.held().values())
            mean = sum(held) / len(held)
            return len(held) == had + count and min(held) > 0.6 * mean and max(held) < 1.5 * mean
        wait_until(f"{count} new servers have their share: {self.held()}", balanced, self.patience_s, 0.3)
        self.say(f"{count} more storage servers have their share", began)
        print("      bytes per server: " + " ".join(f"{address} {bytes_ / 1e6:.1f} MB" for address, bytes_ in sorted(self.held().items())))
        self.checker.goes_on("the balancing")

    def lose(self, address):
        """The process at the address, for good, with all that it had."""
        self.scratch.local_cluster("kill", address, "--for-good", *where(self.scratch))
        shutil.rmtree(self.scratch.path("cluster", "data", address.rsplit(":", 1)[1]))
        wait_until("the missing copies show at once", lambda: self.data()["state"]["min_replicas_remaining"] == 1, 8, 0.2)
        wait_until("status names who is missing", lambda: [m["description"] for m in self.shell.cluster()["messages"]
                                                           if m["name"] == "storage_servers_error" and address in m["description"]], 8, 0.2)

    def drain(self, address):
        began = time.monotonic()
        run = subprocess.run([program("quoincli"), "-C", self.file, "--timeout", str(int(self.patience_s)), "--exec", f"exclude {address}"],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=self.patience_s + 20)
        assert run.returncode == 0 and "safe to remove" in run.stdout, run.stdout + run.stderr
        self.say(f"{address} is drained", began)
        assert self.is_whole(2), self.data()
        self.scratch.local_cluster("kill", address, "--for-good", *where(self.scratch))
        self.checker.goes_on("the end of the process that was excluded")
        assert self.is_whole(2), self.data()

    def end(self):
        worst_s = self.stalls.end()
        self.checker.end()
        print(f"      commits stood still for {worst_s:.2f} s at most; {self.checker.verify()}")
        assert worst_s <= STALL_MAX_S, f"commits stood still for {worst_s:.2f} s"


def live_through_it(moving):
    moving.becomes_whole("the load")
    moving.add_storage(2)
    moving.lose(addresses(moving.shell, "storage")[0])
    moving.becomes_whole("the loss of a server")
    for mode, copies in (("triple", 3), ("double", 2)):
        moving.shell.good(f"configure {mode}")
        if copies == 3:
            wait_until("status says at once that copies are missing", lambda: moving.data()["state"]["name"] == "healing", 0.5, 0.05)
        moving.becomes_whole(f"configure {mode}", copies)
    moving.drain(addresses(moving.shell, "storage")[0])
    moving.end()


def test_data_moves_while_commits_go_on(scratch, _):
    live_through_it(Moving(scratch, 50, "--knob", "dd_shard_bytes_min=2000000"))


def test_long_data_moves_while_commits_go_on(scratch, _):
    """5 GB (QUOIN_TEST_MEGABYTES: another number). Needs its fivefold on the disk: three copies, moves, logs."""
    megabytes = int(os.environ.get("QUOIN_TEST_MEGABYTES", "5000"))
    free, needed = shutil.disk_usage(scratch.dir).free, megabytes * 5000000
    assert free >= needed, f"{scratch.dir} needs {needed / 1e9:.1f} GB of free disk and has {free / 1e9:.1f}; TMPDIR names another place"
    live_through_it(Moving(scratch, megabytes))
