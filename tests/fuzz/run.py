#!/usr/bin/env python3
"""Replays the corpus of every fuzz target, then runs it for a while, on all cores; each is one test.

usage: tests/fuzz/run.py [--long] [--seconds S] [--executions N] [--target NAME]... [--record]

  --long           60 s a target instead of 5
  --seconds S      how long a target runs at most
  --executions N   stops a target after so many inputs, if its time is not over before
  --target NAME    only this one (history, role_log, ..); may be given again
  --record         appends what ran to tests/fuzz/RUNS (date, commit, target, inputs, finding)

A finding is kept in build/fuzz/work/fuzz_NAME; `build/fuzz/tests/fuzz/fuzz_NAME FILE` repeats it. Once it is mended, it goes into
corpus/NAME as regression-N. What a run finds of new paths stays in build/fuzz/work and serves the next run.

examples:
  tools/test fuzz
  tests/fuzz/run.py --target history --executions 10000000 --seconds 3600 --record
"""
import collections
import concurrent.futures
import fcntl
import getopt
import glob
import os
import re
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RUNS = os.path.join(TOP, "tests/fuzz/RUNS")
FOLDER = "build/fuzz/tests/fuzz"
INPUT_BYTES_MAX, INPUT_SECONDS_MAX, GRACE_S = 4096, 20, 120
RUN_LINE = re.compile(r"^\S+ \S+ commit \S+ (\S+): (\d+) inputs, (.*)$")


def run_one(name, options):
    """(name, exit status, inputs, what it printed)."""
    work = os.path.join(TOP, "build/fuzz/work", f"fuzz_{name}")
    kept = os.path.join(TOP, "tests/fuzz/corpus", name)
    os.makedirs(work, exist_ok=True)
    command = [os.path.join(TOP, FOLDER, f"fuzz_{name}"), f"-max_total_time={options['seconds']}", f"-runs={options['executions']}",
               f"-artifact_prefix={work}/", f"-max_len={INPUT_BYTES_MAX}", f"-timeout={INPUT_SECONDS_MAX}", "-print_final_stats=1",
               work] + ([kept] if os.path.isdir(kept) else [])
    try:
        run = subprocess.run(command, cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             timeout=options["seconds"] + GRACE_S)
        status, text = run.returncode, run.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as expired:
        status, text = -1, (expired.stdout or b"").decode(errors="replace") + "\nit does not end"
    found = re.search(r"number_of_executed_units:\s*(\d+)", text)
    return name, status, int(found.group(1)) if found else 0, text


def finding_of(status, text):
    if status == 0:
        return "nothing found"
    found = re.search(r"Assertion .* failed|runtime error: .*|ERROR: \S+: \S+.*", text)
    return f"FOUND {found.group(0)[:150] if found else f'exit status {status}'}"


def record(results):
    commit = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=TOP, capture_output=True,
                            text=True).stdout.strip() or "no-commit"
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    lines = [f"{when} commit {commit} {name}: {inputs} inputs, {finding_of(status, text)}\n" for name, status, inputs, text in results]
    with open(RUNS, "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("".join(lines))


def print_totals():
    """Inputs of each target since its last finding."""
    totals = collections.OrderedDict()
    with open(RUNS, encoding="utf-8") as file:
        for line in file:
            match = RUN_LINE.match(line)
            if match:
                name, inputs, finding = match.groups()
                totals[name] = 0 if finding.startswith("FOUND") else totals.get(name, 0) + int(inputs)
    print("inputs since the last finding: " + ", ".join(f"{name} {count}" for name, count in sorted(totals.items())))


def parse_arguments(arguments):
    options = {"seconds": 5, "executions": -1, "targets": [], "record": False}
    try:
        flags, rest = getopt.getopt(arguments, "h", ["help", "long", "seconds=", "executions=", "target=", "record"])
    except getopt.GetoptError as error:
        sys.exit(f"tests/fuzz/run.py: {error}; --help tells what it takes")
    if rest:
        sys.exit(f"tests/fuzz/run.py: unexpected argument: {rest[0]}")
    for flag, value in flags:
        if flag in ("-h", "--help"):
            print(__doc__.strip())
            sys.exit(0)
        if flag in ("--seconds", "--executions"):
            if not value.isdigit() or int(value) == 0:
                sys.exit(f"tests/fuzz/run.py: {flag}: not a number above 0: {value}")
            options[flag[2:]] = int(value)
        elif flag == "--long":
            options["seconds"] = 60
        elif flag == "--target":
            options["targets"].append(value.removeprefix("fuzz_"))
        elif flag == "--record":
            options["record"] = True
    return options


def main():
    options = parse_arguments(sys.argv[1:])
    if subprocess.run(["tools/build", "fuzz"], cwd=TOP).returncode != 0:
        print("FAIL  build/fuzz does not build\n0 passed, 1 failed")
        return True
    found = glob.glob(os.path.join(TOP, FOLDER, "fuzz_*"))
    names = sorted(os.path.basename(path).removeprefix("fuzz_") for path in found if os.path.isfile(path))
    unknown = set(options["targets"]) - set(names)
    if unknown:
        sys.exit(f"tests/fuzz/run.py: no such target: {sorted(unknown)[0]}; there are: {' '.join(names)}")
    names = options["targets"] or names
    failed, results = 0, []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for result in pool.map(lambda name: run_one(name, options), names):
            name, status, inputs, text = result
            results.append(result)
            print(f"{'ok  ' if status == 0 else 'FAIL'}  fuzz_{name}: {inputs} inputs", flush=True)
            if status != 0:
                failed += 1
                print("\n".join("      " + line for line in text.splitlines()[-40:]))
    if options["record"]:
        record(results)
        print_totals()
    print(f"{len(names) - failed} passed, {failed} failed")
    return failed > 0 or not names


if __name__ == "__main__":
    sys.exit(main())
