"""Runs the tests against real processes: every function test_* of the test_*.py beside this file.

Each gets a Cluster-free scratch directory; whatever it started is ended and removed afterwards, also when it failed.
"""
import glob
import importlib
import os
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import harness  # noqa: E402


def collect(only, long_):
    """(name, function) of what is asked for; test_long_* are for --long alone."""
    for path in sorted(glob.glob(os.path.join(HERE, "test_*.py"))):
        module = importlib.import_module(os.path.basename(path)[:-3])
        for name, function in list(vars(module).items()):
            if not name.startswith("test_") or not callable(function) or (name.startswith("test_long_") and not long_):
                continue
            wanted = only in name or only in module.__name__ if only else module.__name__ != "test_quickstart"
            if wanted:
                yield name, function


def main():
    # A terminated run must take its clusters along: the exception lets every test clean up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = sys.argv[1:]
    only = arguments[arguments.index("--only") + 1] if "--only" in arguments else None
    if not harness.build():
        print("0 passed, 1 failed")
        return True
    passed = failed = 0
    for name, function in collect(only, "--long" in arguments):
        good = harness.run_one(name, function, "--long" in arguments)
        passed += good
        failed += not good
    print(f"{passed} passed, {failed} failed")
    return failed > 0 or passed == 0


if __name__ == "__main__":
    sys.exit(main())
