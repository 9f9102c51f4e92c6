"""Runs the tests against real processes: every function test_* of the test_*.py beside this file.

Each gets a Cluster-free scratch directory; whatever it started is ended and removed afterwards, also when it failed.
"""
import glob
import importlib
import os
import sys
import time
import traceback

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


def run_one(name, function, long_):
    began = time.monotonic()
    try:
        with harness.Scratch(name) as scratch:
            function(scratch, long_)
        verdict, detail = "ok  ", ""
    except harness.Missing as missing:
        verdict, detail = "none", str(missing)
    except Exception:
        verdict, detail = "FAIL", traceback.format_exc()
    print(f"{verdict}  {name} ({time.monotonic() - began:.1f} s)", flush=True)
    if detail and verdict == "FAIL":
        print(detail, flush=True)
    return verdict, detail


def main():
    arguments = sys.argv[1:]
    only = arguments[arguments.index("--only") + 1] if "--only" in arguments else None
    if not harness.build():
        print("0 passed, 1 failed")
        return True
    passed = failed = 0
    nothing = []
    for name, function in collect(only, "--long" in arguments):
        verdict, detail = run_one(name, function, "--long" in arguments)
        passed += verdict == "ok  "
        failed += verdict == "FAIL"
        if verdict == "none":
            nothing.append(f"{name}: {detail}")
    for line in nothing:
        print(f"real: NOTHING TO RUN YET for {line}")
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
