"""The layers in C against a cluster of one process, and their examples."""
import os
import subprocess

from harness import BUILD, TOP

EXAMPLES = ("tuple", "subspace", "directory", "records", "queue", "counter", "multimap", "blob")


def run(path, cluster_file):
    return subprocess.run([os.path.join(TOP, "build", BUILD, path), cluster_file], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)


def test_the_layers_keep_their_promises(scratch, _):
    done = run("tests/real/quoin-layers-checker", scratch.start_cluster("--processes", "one"))
    assert done.returncode == 0 and done.stdout == "all layers hold\n", f"{done.returncode}: {done.stdout}{done.stderr}"


def test_the_examples_of_the_layers_do_what_they_say(scratch, _):
    file = scratch.start_cluster("--processes", "one")
    for _ in range(2):  # each leaves the cluster so that it runs again
        for name in EXAMPLES:
            done = run(f"tools/example-{name}", file)
            with open(os.path.join(TOP, f"tools/examples/{name}.expected")) as expected:
                assert done.returncode == 0 and done.stdout == expected.read(), f"{name}: {done}"
