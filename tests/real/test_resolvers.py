"""Several commit proxies, GRV proxies and resolvers together; and resolvers that share a skewed load without a new epoch."""
import json
import subprocess
import time

from checking import Checker
from harness import program, wait_until
from test_operator import Shell

STATELESS_MORE = 4  # sequencer, 3 commit proxies, 2 GRV proxies, 3 resolvers: nine processes
STALL_MS = 2000


def roles_of(shell, kind):
    """The role objects of the living epoch."""
    cluster = shell.cluster()
    return [role for process in cluster["processes"].values() for role in process["roles"]
            if role["role"] == kind and role.get("epoch") == cluster["generation"]]


def ranges(shell):
    """The resolvers in key order, each beginning where the one before ends; None unless all know of one partition."""
    resolvers = roles_of(shell, "resolver")
    if len(resolvers) != 3 or any("key_range" not in one for one in resolvers) or len({one["partition"] for one in resolvers}) != 1:
        return None
    by_begin = {one["key_range"]["begin"]: one for one in resolvers}
    ordered = [by_begin[""]]
    while len(ordered) < 3:
        ordered.append(by_begin[ordered[-1]["key_range"]["end"]])
    return ordered


def shares(shell):
    """Each resolver's part of all conflict ranges; None while that is not known or ranges change."""
    resolvers = ranges(shell)
    if resolvers is None:
        return None
    loads = [one["conflict_ranges_per_s"] for one in resolvers]
    return [load / max(sum(loads), 1) for load in loads] if sum(loads) > 500 else None


def start(scratch):
    shell = Shell(scratch.start_cluster("--knob", "resolver_balance_floor=100"))
    for _ in range(STATELESS_MORE):
        scratch.local_cluster("add", "stateless", "--dir", scratch.path("cluster"))
    stateless = 5 + STATELESS_MORE
    wait_until("all processes are there",
               lambda: sum(p["class_type"] == "stateless" for p in shell.cluster()["processes"].values()) == stateless, 20, 0.2)
    shell.good("configure commit_proxies=3 grv_proxies=2 resolvers=3")
    for kind, count in (("commit_proxy", 3), ("grv_proxy", 2), ("resolver", 3)):
        wait_until(f"{count} of {kind}", lambda k=kind, c=count: shell.count(k) == c, 20, 0.2)
    return shell


def longest_stall_ms(checker, seconds):
    """Of the acknowledgements that arrive meanwhile."""
    until = time.monotonic() + seconds
    newest, last, longest = checker.acknowledged(), time.monotonic(), 0.0
    while time.monotonic() < until:
        time.sleep(0.02)
        count, now = checker.acknowledged(), time.monotonic()
        if count > newest:
            newest, last = count, now
        longest = max(longest, now - last)
    return longest * 1000


def bench(scratch, shell, seconds):
    """All its keys begin with the same letters: at first one resolver has the whole load."""
    return scratch.start([program("quoin-bench"), "--cluster", shell.command[2], "--workload", "rmw", "--clients", "16", "--keys", "2000",
                          "--warmup", "0", "--seconds", str(seconds)], stdout=subprocess.PIPE, text=True)


def test_resolvers_come_to_share_a_skewed_load_in_one_epoch(scratch, _):
    shell = start(scratch)
    checker = Checker(scratch, shell.command[2])
    checker.goes_on("the start", 20)
    epoch = shell.cluster()["generation"]
    load = bench(scratch, shell, 10)
    even = wait_until("all three resolvers have work", lambda: (lambda s: s if s and min(s) > 0.1 else None)(shares(shell)), 9, 0.3)
    stall = longest_stall_ms(checker, 3)
    moved = wait_until("one partition", lambda: ranges(shell), 10, 0.3)
    checker.goes_on("the changes of ranges")
    load.communicate(timeout=60)
    assert load.returncode == 0
    assert shell.cluster()["generation"] == epoch, "the ranges changed by a new epoch"
    assert stall < STALL_MS, f"nothing was acknowledged for {stall:.0f} ms"
    assert moved[0]["partition"] > 1 and moved[1]["key_range"]["begin"] != "U" and moved[2]["key_range"]["end"] == "\\xff\\xff", moved
    checker.end()
    print(f"      shares {', '.join(f'{share:.2f}' for share in even)} by partition {moved[0]['partition']}, "
          f"longest stall {stall:.0f} ms; {checker.verify()}", flush=True)


def test_several_of_each_role_work_together(scratch, _):
    shell = start(scratch)
    checker = Checker(scratch, shell.command[2])
    checker.goes_on("the start", 20)
    load = bench(scratch, shell, 4)
    said = load.communicate(timeout=60)[0]
    assert load.returncode == 0, said
    for kind, number in (("commit_proxy", "commits_committed"), ("grv_proxy", "transactions_started"), ("resolver", "batches")):
        done = [role[number] for role in roles_of(shell, kind)]
        assert len(done) > 1 and min(done) > 0, f"{kind}: {json.dumps(done)}"
    checker.end()
    print(f"      {checker.verify()}", flush=True)
