"""Software that others wrote for FoundationDB, on Quoin, unchanged: npm's foundationdb with its own tests and its stack tester, rxdb's
storage, @openland/foundationdb.

usage: tests/bindings/run.py [--long] [--only NAME]

What is installed is pinned by package-lock.json and comes from npm's registry into build/test/bindings. Where node is older than 20, or npm is
missing, nothing runs: that is said, and the exit status is 77.
example: python3 tests/bindings/run.py --only layer
"""
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "real")]

import harness  # noqa: E402
from harness import BUILD, TOP  # noqa: E402

WHERE = os.path.join(TOP, "build/test/bindings")
LIBRARIES = os.path.join(TOP, "build", BUILD, "roles/embedded")
SKIPPED = 77
RUN_OF_ITS_OWN, PENDING_OF_ITS_OWN = 52, 5


def skip(why):
    print(f"SKIPPED: bindings: {why}. Nothing of what others wrote has been run against libfdb_c.")
    print("0 passed, 0 failed")
    sys.exit(SKIPPED)


def check_node():
    if not shutil.which("node") or not shutil.which("npm"):
        skip("there is no node, or no npm")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
    if int(re.match(r"v(\d+)", version).group(1)) < 20:
        skip(f"node is {version}; 20 is needed")


def install():
    """npm ci, unless what is there was made from the same files."""
    files = [os.path.join(HERE, name) for name in ("package.json", "package-lock.json")]
    digest = hashlib.sha256(b"".join(open(name, "rb").read() for name in files)).hexdigest()
    stamp = os.path.join(WHERE, "installed")
    if os.path.exists(stamp) and open(stamp).read() == digest:
        return
    os.makedirs(WHERE, exist_ok=True)
    for name in files:
        shutil.copy(name, WHERE)
    run = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=WHERE, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    if run.returncode != 0:
        raise AssertionError(f"npm ci failed:\n{run.stdout[-3000:]}")
    with open(stamp, "w") as file:
        file.write(digest)


def environment(**more):
    return dict(os.environ, LD_LIBRARY_PATH=LIBRARIES, **more)


def node(*arguments, timeout=60, **variables):
    run = subprocess.run(["node", *arguments], cwd=WHERE, env=environment(**variables), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, timeout=timeout)
    assert run.returncode == 0, f"{' '.join(arguments)} exited {run.returncode}:\n{run.stdout[-4000:]}"
    return run.stdout


def clusters(scratch):
    """The two kinds of cluster that everything here must run on."""
    yield scratch.start_cluster()
    yield "embedded:" + scratch.path("embedded")


def own_tests(cluster):
    modules = os.path.join(WHERE, "node_modules")
    tests = sorted(name for name in os.listdir(os.path.join(modules, "foundationdb/dist/test")) if name.endswith(".js"))
    out = node(os.path.join(modules, "mocha/bin/mocha.js"), "--exit", *(os.path.join(modules, "foundationdb/dist/test", name) for name in tests),
               FDB_CLUSTER_FILE=cluster)
    passing, pending = re.search(r"(\d+) passing", out), re.search(r"(\d+) pending", out)
    assert passing and int(passing.group(1)) == RUN_OF_ITS_OWN and int(pending.group(1)) == PENDING_OF_ITS_OWN, out[-3000:]


def test_npm_foundationdb_passes_its_own_tests(scratch, _):
    for cluster in clusters(scratch):
        own_tests(cluster)


def test_layer_rxdb_storage(scratch, _):
    shutil.copy(os.path.join(HERE, "layer_rxdb.js"), WHERE)
    for cluster in clusters(scratch):
        node("layer_rxdb.js", cluster)


def test_layer_openland(scratch, _):
    shutil.copy(os.path.join(HERE, "layer_openland.js"), WHERE)
    for cluster in clusters(scratch):
        node("layer_openland.js", cluster)


# ---- the stack tester ----

def start_tester(prefix, version, cluster, scratch):
    script = os.path.join(WHERE, "node_modules/foundationdb/dist/scripts/bindingtester.js")
    log = open(scratch.path(f"tester-{prefix.decode()}.log"), "w")
    process = scratch.start(["node", script, prefix.decode(), str(version), cluster], cwd=WHERE, env=environment(), stdout=log, stderr=log)
    return process, log.name


def dump(db, prefix):
    """What a stream has written, but for what is another each time."""
    pairs = db.run(lambda transaction: transaction.get_all(prefix + b"/", prefix + b"0"))
    return [pair for pair in pairs if b"/work/free" not in pair[0]]


def load_stream(db, prefix, instructions):
    from tuples import pack
    db.run(lambda transaction: transaction.clear_range(prefix, prefix + b"\xff"))
    db.run(lambda transaction: transaction.clear_range(pack(prefix), pack(prefix) + b"\xff"))
    for i in range(0, len(instructions), 500):
        db.run(lambda transaction: [transaction.set(pack(prefix, at), instructions[at]) for at in range(i, min(i + 500, len(instructions)))])


def first_difference(theirs, ours):
    for i, (one, other) in enumerate(zip(theirs, ours)):
        if one != other:
            return f"entry {i}: theirs {one}, ours {other}"
    return f"theirs has {len(theirs)} entries, ours {len(ours)}"


def compare_stacks(scratch, cluster, version, seeds, count, killing=None):
    """Their testers side by side, then our machine on the same streams; the data and every stack must be equal."""
    import quoin_library
    import stack_machine
    import stack_streams
    library = quoin_library.load(os.path.join(LIBRARIES, "libquoin.so"))
    db = quoin_library.Database(library, cluster, version)
    prefixes = {seed: f"s{version}-{seed}".encode() for seed in seeds}
    total = 0
    for seed, prefix in prefixes.items():
        for name, instructions in stack_streams.Stream(seed, prefix, version, killing is not None).make(count):
            load_stream(db, name, instructions)
            total += len(instructions)
    testers = [start_tester(prefix, version, cluster, scratch) for prefix in prefixes.values()]
    if killing is not None:
        killing(lambda: any(process.poll() is None for process, _ in testers))
    for process, log in testers:
        assert process.wait(timeout=120) == 0, f"{log}:\n{open(log).read()[-3000:]}"
    for seed, prefix in prefixes.items():
        theirs = dump(db, prefix)
        db.run(lambda transaction: transaction.clear_range(prefix + b"/", prefix + b"0"))
        stack_machine.StackMachine(db, library, prefix, version).run()
        ours = dump(db, prefix)
        assert theirs == ours, f"version {version}, seed {seed}: {first_difference(theirs, ours)}"
        assert len(theirs) > 20
    db.close()
    return total


def test_stack_tester_agrees_with_our_stack_machine(scratch, long_):
    cluster = scratch.start_cluster()
    total = 0
    for version in (510, 630, 720):
        total += compare_stacks(scratch, cluster, version, range(1, 4), 4000 if long_ else 1200)
    print(f"      {total} instructions")
    assert total >= 10000


def test_stack_comparison_sees_a_machine_that_is_wrong(scratch, _):
    import stack_machine

    class Wrong(stack_machine.StackMachine):
        def op_GET_KEY(self, target):
            depth = len(self.stack) - 3
            self.stack[depth] = (self.stack[depth][0], self.stack[depth][1] + 1)  # the offset
            super().op_GET_KEY(target)

    right, cluster = stack_machine.StackMachine, scratch.start_cluster("--processes", "one")
    try:
        stack_machine.StackMachine = Wrong
        compare_stacks(scratch, cluster, 630, [1], 600)
    except AssertionError as difference:
        assert "entry" in str(difference), difference
        return
    finally:
        stack_machine.StackMachine = right
    raise AssertionError("a wrong machine agreed with the tester")


def test_stack_tester_while_processes_die(scratch, _):
    cluster = scratch.start_cluster()
    where, victims, killed = os.path.dirname(cluster), ["log", "storage", "sequencer", "commit_proxy", "resolver", "grv_proxy"], []

    def kill(running):
        while running():
            victim = victims[len(killed) % len(victims)]
            if scratch.local_cluster("kill", victim, "--dir", where, check=False).returncode == 0:
                killed.append(victim)
            time.sleep(0.3)

    total = compare_stacks(scratch, cluster, 630, range(11, 13), 5000, kill)
    print(f"      {total} instructions, killed: {' '.join(killed)}")
    assert len(killed) >= 3, killed


def main():
    if "-h" in sys.argv or "--help" in sys.argv:
        print(__doc__.strip())
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    only = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else ""
    check_node()
    if not harness.build():
        print("0 passed, 1 failed")
        return 1
    if not harness.run_one("npm_ci", lambda _scratch, _long: install(), False):
        print("0 passed, 1 failed")
        return 1
    passed = failed = 0
    for name, function in list(globals().items()):
        if name.startswith("test_") and only in name:
            good = harness.run_one(name, function, "--long" in sys.argv)
            passed += good
            failed += not good
    print(f"{passed} passed, {failed} failed")
    return int(failed > 0 or passed == 0)


if __name__ == "__main__":
    sys.exit(main())
