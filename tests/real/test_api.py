"""The public C library against real processes, and a client that is given the coordinators of two clusters."""
import os
import subprocess

from harness import BUILD, TOP, program


def coordinators(file):
    with open(file) as text:
        return text.read().strip().rsplit("@", 1)[1]


def test_the_public_library_keeps_its_promises(scratch, _):
    tester = os.path.join(TOP, "build", BUILD, "tests/real/quoin-api-test")
    file = scratch.start_cluster("--processes", "one")
    run = subprocess.run([tester, file], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, f"{run.stdout[-2000:]}{run.stderr[-2000:]}"
    assert run.stdout.count("\nok ") >= 25, run.stdout
    print("      " + run.stdout.strip().rsplit("\n", 1)[-1])


def test_coordinators_of_two_clusters_are_refused(scratch, _):
    files = [scratch.start_cluster("--processes", "one", name=name) for name in ("first", "second")]
    both = ",".join(coordinators(file) for file in files)
    for order in (both, ",".join(reversed(both.split(",")))):
        mixed = scratch.write("mixed.cluster", f"mixed:mixed@{order}\n")
        run = subprocess.run([program("quoincli"), "-C", mixed, "--exec", "get a"], stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, timeout=20)
        assert run.returncode != 0 and "different clusters" in run.stdout + run.stderr, run
