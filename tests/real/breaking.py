"""A cluster of real processes, clients that write down all they see, and the ways to break it.

quoin-history's clients record every read, write and answer; at the end two oracles say whether that can have been. Meanwhile a
Broken cluster is struck by STRIKES: kill -9, pauses, rolling restarts, what a relay does to connections (relay.py) and what a
preloaded library does to file calls (tests/faulty_files.c). Every strike heals what it broke; then commits must go on.
"""
import json
import math
import os
import random
import signal
import subprocess
import sys
import time

from harness import BUILD, HERE, TOP, alive, free_ports, wait_until

ROLES = ["sequencer", "grv_proxy", "commit_proxy", "resolver", "log", "storage", "coordinator", "controller"]
LISTEN_OFFSET = 16  # from a process's public port, where the relay is, to its own
GOES_ON_S = 90      # no measure: a machine that tests share may be slow, but not that slow


def built(name):
    path = os.path.join(TOP, "build", BUILD, "tests/real", name)
    if not os.path.exists(path):
        raise AssertionError(f"no build/{BUILD}/tests/real/{name}")
    return path


class History:
    """A running quoin-history, and its verdict."""

    def __init__(self, scratch, cluster_file, seed, clients=8):
        self.progress = scratch.path("progress")
        self.output = open(scratch.path("history.log"), "w+")
        self.process = scratch.start([built("quoin-history"), "-C", cluster_file, "--progress", self.progress, "--clients", str(clients),
                                      "--seed", str(seed), "--keep", scratch.path("wrong-history.log")],
                                     stdout=self.output, stderr=self.output)

    def committed(self):
        try:
            with open(self.progress, "rb") as file:
                return int.from_bytes(file.read(8), "little")
        except FileNotFoundError:
            return 0

    def said(self):
        self.output.seek(0)
        return self.output.read().strip()

    def goes_on(self, what):
        """32 more commits; returns the seconds that took."""
        began, before = time.monotonic(), self.committed()

        def more():
            assert self.process.poll() is None, f"the clients ended after {what}: {self.said()}"
            return self.committed() >= before + 32
        wait_until(f"commits go on after {what}", more, GOES_ON_S)
        return time.monotonic() - began

    def verdict(self):
        """Ends the clients; raises what is wrong, or returns what they did."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(180)
        assert status == 0, f"quoin-history exited with {status}: {self.said()}"
        return self.said()


class Relay:
    def __init__(self, scratch, ports):
        pairs = [f"{port}:{port + LISTEN_OFFSET}" for port in ports]
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "relay.py"), *pairs], start_new_session=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        scratch.processes.append(self.process)
        assert self.read() == {"ready": True}

    def read(self):
        line = self.process.stdout.readline()
        assert line, "the relay has ended"
        return json.loads(line)

    def tell(self, **command):
        """Returns the relay's counts."""
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self.read()


class Broken:
    """A default cluster under struck connections (`network`) and file calls (`files`), as far as asked for."""

    def __init__(self, scratch, seed, network=False, files=False, pause_max_s=30.0, clients=8):
        self.scratch, self.random, self.pause_max_s = scratch, random.Random(seed), pause_max_s
        first = free_ports(2 * LISTEN_OFFSET)
        self.ports = list(range(first, first + 14))
        self.where = ("--dir", scratch.path("cluster"))
        self.relay = Relay(scratch, self.ports) if network else None
        self.plan = scratch.path("file-faults") if files else None
        environment = {"QUOIN_FILE_FAULTS": self.plan, "LD_PRELOAD": built("libquoin-faulty-files.so")} if files else {}
        options = ("--listen-offset", str(LISTEN_OFFSET)) if network else ()
        self.file = scratch.start_cluster(*options, port=first, environment=environment)
        self.history = History(scratch, self.file, seed, clients)
        self.history.goes_on("the start")

    # ---- who runs ----

    def processes(self):
        """{public port: pid} of the servers that are alive."""
        with open(self.scratch.path("cluster", "quoinmon.pid")) as file:
            monitor = int(file.read())
        with open(f"/proc/{monitor}/task/{monitor}/children") as file:
            pids = [int(pid) for pid in file.read().split()]
        found = {}
        for pid in filter(alive, pids):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().decode().split("\0")
                found[int(words[words.index("-p") + 1].rsplit(":", 1)[1])] = pid
            except (FileNotFoundError, ProcessLookupError, ValueError):
                pass  # gone meanwhile, or not yet its own program
        return found

    def choose(self, *roles):
        """(role, port, pid) of a process that runs a drawn one of the roles (all: any)."""
        def found():
            role = self.random.choice(roles or ROLES)
            run = self.scratch.local_cluster("kill", role, "--print", *self.where, check=False)
            words = run.stdout.split()
            return (role, int(words[1].rsplit(":", 1)[1]), int(words[2])) if len(words) == 3 else None
        return wait_until("some process runs a role", found, GOES_ON_S, 0.2)

    def kill(self, pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def pause_s(self):
        """0.1 to pause_max_s, as many short as long ones."""
        return math.exp(self.random.uniform(math.log(0.1), math.log(self.pause_max_s)))

    # ---- strikes: each returns what it did ----

    def strike_kill(self):
        """kill -9 of one that runs a role, or of two at once."""
        victims = [self.choose() for _ in range(self.random.choice((1, 1, 2)))]
        for _, _, pid in victims:
            self.kill(pid)
        return "kill -9 " + " and ".join(f"{role} {port}" for role, port, _ in victims)

    def strike_kill_all(self):
        """kill -9 of all."""
        victims = self.processes()
        for pid in victims.values():
            self.kill(pid)
        return f"kill -9 of all {len(victims)}"

    def strike_pause(self):
        """SIGSTOP of one, now and then of all, and SIGCONT."""
        if self.random.random() < 0.2:
            who, pids = "all", list(self.processes().values())
        else:
            role, port, pid = self.choose()
            who, pids = f"{role} {port}", [pid]
        seconds = self.pause_s()
        for sent, rest in ((signal.SIGSTOP, seconds), (signal.SIGCONT, 0)):
            for pid in pids:
                try:
                    os.kill(pid, sent)
                except ProcessLookupError:
                    pass
            time.sleep(rest)
        return f"pause {who} for {seconds:.1f} s"

    def strike_restart(self):
        """SIGTERM of one after the other; the next only when commits go on."""
        for port, pid in sorted(self.processes().items(), key=lambda _: self.random.random()):
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
            wait_until(f"{port} is back", lambda: self.processes().get(port, pid) != pid, GOES_ON_S)
            self.history.goes_on(f"the restart of {port}")
        return "rolling restart"

    def strike_network(self, kind=None, seconds=None):
        """One thing that connections suffer, for one process."""
        role, port, _ = self.choose()
        kind = kind or self.random.choice(NETWORK_STRIKES)
        seconds = seconds or min(self.pause_s(), 10.0)
        if kind == "reset now":
            self.relay.tell(now="reset", to=port)
            self.relay.tell(now="reset", **{"from": port})
        elif kind == "half-open":
            for end in ("from", "to"):
                self.relay.tell(now="half-open", side=self.random.choice(("dialler", "listener")), **{end: port})
        else:
            self.relay.tell(rules=NETWORK_RULES[kind](port))
        if kind == "refused":
            self.relay.tell(now="reset", to=port)
        time.sleep(seconds)
        self.relay.tell(rules=[])
        return f"{kind} at {role} {port} for {seconds:.1f} s"

    def strike_files(self, fault=None, seconds=None):
        """One thing that file calls suffer, in one process that has a disk."""
        role, port, pid = self.choose("log", "storage", "coordinator")
        fault = fault or self.random.choice(FILE_FAULTS)
        plan = fault.replace("DATA", f"cluster/data/{port}/")
        seconds = seconds or min(self.pause_s(), 10.0)
        self.set_plan(plan)
        if "open" in fault or "read DATA" in fault:
            self.kill(pid)  # it reads and opens when it starts
        elif role == "coordinator":
            self.kill(self.choose("sequencer")[2])  # coordinators write when an epoch ends
        time.sleep(seconds)
        self.set_plan("")
        return f"{plan} of {role} for {seconds:.1f} s"

    def strike_storm(self):
        """Three kills in a row, under slow syncs and slow connections as far as these are struck."""
        if self.plan:
            self.set_plan("sync cluster/data/ slow=30 one-in=3")
        if self.relay:
            self.relay.tell(rules=[{"do": "delay", "ms": [0, 15]}, {"do": "reset", "chance": 0.002}])
        victims = [self.choose() for _ in range(3)]
        for _, _, pid in victims:
            self.kill(pid)
            time.sleep(self.random.uniform(0, 0.5))
        if self.plan:
            self.set_plan("")
        if self.relay:
            self.relay.tell(rules=[])
        return "storm and kill -9 " + ", ".join(f"{role} {port}" for role, port, _ in victims)

    def set_plan(self, text):
        with open(self.plan + ".new", "w") as file:
            file.write(text + "\n")
        os.rename(self.plan + ".new", self.plan)

    def hits(self):
        """How many file calls were struck."""
        try:
            with open(self.plan + ".hits") as file:
                return file.read().count("\n")
        except FileNotFoundError:
            return 0

    def strike(self, kind):
        """Strikes, and waits until commits go on: (what it did, the seconds until they did)."""
        what = getattr(self, f"strike_{kind.replace('-', '_')}")()
        return what, self.history.goes_on(what)


def both_ends(port, **rule):
    return [dict(rule, to=port), dict(rule, **{"from": port})]


NETWORK_RULES = {
    "isolated": lambda port: both_ends(port, do="cut"),
    "hears nothing": lambda port: [{"do": "cut", "to": port, "way": "there"}, {"do": "cut", "from": port, "way": "back"}],
    "is not heard": lambda port: [{"do": "cut", "to": port, "way": "back"}, {"do": "cut", "from": port, "way": "there"}],
    "slow": lambda port: both_ends(port, do="delay", ms=[1, 80]),
    "bits flip": lambda port: both_ends(port, do="corrupt", chance=0.05),
    "resets": lambda port: both_ends(port, do="reset", chance=0.05),
    "refused": lambda port: [{"do": "refuse", "to": port}],
}
NETWORK_STRIKES = sorted(NETWORK_RULES) + ["half-open", "reset now"]

FILE_FAULTS = [
    "write DATA EIO skip=5 count=1",
    "write DATA EIO one-in=20",
    "write,grow DATA ENOSPC",
    "write,read DATA short",
    "sync DATA EIO skip=3 count=1",
    "sync DATA EIO",
    "sync DATA slow=300",
    "open,rename DATA EIO",
    "read DATA EIO one-in=3",
]

STRIKES = {name.replace("strike_", "").replace("_", "-"): getattr(Broken, name).__doc__ for name in vars(Broken) if name.startswith("strike_")}
