#!/usr/bin/env python3
"""Replays the corpus of every fuzz target, then runs it for a while, on all cores; each is one test.

usage: tests/fuzz/run.py [--long] [--seconds S] [--executions N] [--jobs J] [--target NAME]... [--record]
       tests/fuzz/run.py --totals | --coverage | --keep [--target NAME]...

  --long           60 s a target instead of 5
  --seconds S      how long a target runs at most
  --executions N   stops a target after so many inputs, if its time is not over before
  --jobs J         targets at once (default: one a core)
  --target NAME    only this one (history, role_log, ..); may be given again
  --record         appends what ran to tests/fuzz/RUNS (date, commit, target, inputs, finding)
  --totals         runs nothing: inputs of each target since its last finding, what is asked, and what is left
  --coverage       runs the corpora and what earlier runs learned: functions reached, by folder, and those of the
                   target's own folder that nothing reaches
  --keep           writes the fewest inputs that reach each edge that anything did to corpus/NAME.paths, one a line in base64

A finding is kept in build/fuzz/work/fuzz_NAME; `build/fuzz/tests/fuzz/fuzz_NAME FILE` repeats it. Once it is mended, it goes into
corpus/NAME as regression-N. What a run finds of new paths stays in build/fuzz/work and serves the next run.

examples:
  tools/test fuzz
  tests/fuzz/run.py --totals
  tests/fuzz/run.py --coverage --target role_log
  tests/fuzz/run.py --target history --executions 10000000 --seconds 3600 --record
"""
import base64
import concurrent.futures
import fcntl
import getopt
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RUNS = os.path.join(TOP, "tests/fuzz/RUNS")
FOLDER = "build/fuzz/tests/fuzz"
INTERRUPTED = 72  # libFuzzer's own status after a signal to it: what it ran until then counts
LATE = 70  # its status when an input took too long by the wall clock
INPUT_SECONDS_MAX, GRACE_S = 20, 120
# Inputs as long as they may be, in bytes: what a format needs, for every byte costs time. The corpus is replayed whole.
INPUT_BYTES_MAX = 512
INPUT_BYTES_OF_ROLES = 192 # a dozen messages
INPUT_BYTES = {"cli": 256, "conf": 1024, "cluster_file": 1024, "scenario": 768, "messages": 1024, "tables": 1024, "slots": 1024,
               "diskqueue": 128, "raft": 256, "frames": 256, "history": 256, "role_files": 256}
INPUTS_ASKED, INPUTS_ASKED_OF_ROLES = 10_000_000, 1_000_000
# Files of the tree that are good inputs as they stand.
SEEDS = {"scenario": ["tests/sim/*.ini", "tests/sim/*/*.ini"]}
# Short stacks and little freed memory held back: half of an input's time otherwise. What is freed is still poisoned for a while.
SANITIZER = {"ASAN_OPTIONS": "malloc_context_size=2:quarantine_size_mb=1:thread_local_quarantine_size_kb=256:max_malloc_fill_size=32"}
# No weights to keep and no folder to look through again; for leaks, fuzz_input.c looks after each input, and the sanitizer at the end.
CHEAPLY = ["-entropic=0", "-reload=0", "-detect_leaks=0"]
RUN_LINE = re.compile(r"^\S+ \S+ commit \S+ (\S+): (\d+) inputs, (.*)$")


def is_role(name):
    return name.startswith("role_") and name != "role_files"


def longest_of(name):
    return INPUT_BYTES_OF_ROLES if is_role(name) else INPUT_BYTES.get(name, INPUT_BYTES_MAX)


def program(name):
    return os.path.join(TOP, FOLDER, f"fuzz_{name}")


def paths_of(name):
    return os.path.join(TOP, "tests/fuzz/corpus", name + ".paths")


def work_of(name):
    work = os.path.join(TOP, "build/fuzz/work", f"fuzz_{name}")
    os.makedirs(work, exist_ok=True)
    for pattern in SEEDS.get(name, []):
        for path in glob.glob(os.path.join(TOP, pattern)):
            shutil.copy(path, os.path.join(work, "seed-" + os.path.basename(path)))
    if os.path.exists(paths_of(name)):
        with open(paths_of(name), encoding="ascii") as file:
            for number, line in enumerate(file):
                with open(os.path.join(work, f"path-{number}"), "wb") as out:
                    out.write(base64.b64decode(line))
    return work


def kept_of(name):
    return sorted(glob.glob(os.path.join(TOP, "tests/fuzz/corpus", name, "*")))


def run_program(command, seconds):
    """(exit status, what it printed). An input that does not end is found by libFuzzer itself; a program that is late without one has had too
    little of a busy machine: it is told to stop, and what it ran until then counts."""
    with subprocess.Popen(command, cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, **SANITIZER}) as run:
        try:
            out, _ = run.communicate(timeout=seconds + GRACE_S)
            return run.returncode, out.decode(errors="replace")
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGINT)
        try:
            out, _ = run.communicate(timeout=GRACE_S)
            return run.returncode, out.decode(errors="replace")
        except subprocess.TimeoutExpired as expired:
            run.kill()
            return -1, (expired.stdout or b"").decode(errors="replace") + "\nit does not end"


def ends(name, text):
    """Whether the input that was too late by the wall clock, which goes on while a busy machine runs something else, ends when it is alone and
    only its CPU time counts; if so, it is no finding."""
    written = re.search(r"Test unit written to (\S+)", text)
    if not written:
        return False
    alone = ["sh", "-c", f'ulimit -t {INPUT_SECONDS_MAX} && exec "$@"', "sh", program(name), "-timeout=100000", CHEAPLY[-1], written.group(1)]
    try:
        run = subprocess.run(alone, cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             env={**os.environ, **SANITIZER}, timeout=GRACE_S * 5)
    except subprocess.TimeoutExpired:
        return False
    if run.returncode == 0:
        os.remove(written.group(1))
    return run.returncode == 0


def run_one(name, options):
    """(name, exit status, inputs, what it printed)."""
    work, kept, replayed = work_of(name), kept_of(name), 0
    if kept:
        status, text = run_program([program(name), f"-timeout={INPUT_SECONDS_MAX}", CHEAPLY[-1], f"-artifact_prefix={work}/"] + kept, 0)
        replayed = text.count("Executed ")
        if status != 0:
            return name, status, replayed, text
    command = [program(name), f"-max_total_time={options['seconds']}", f"-runs={options['executions']}", f"-artifact_prefix={work}/",
               f"-max_len={longest_of(name)}", f"-timeout={INPUT_SECONDS_MAX}", "-print_final_stats=1",
               *CHEAPLY, work] + ([os.path.dirname(kept[0])] if kept else [])
    status, text = run_program(command, options["seconds"])
    found = re.search(r"number_of_executed_units:\s*(\d+)", text)
    if status == LATE and ends(name, text):
        status = INTERRUPTED
    return name, status, replayed + (int(found.group(1)) if found else 0), text


def is_good(status, inputs):
    return status in (0, INTERRUPTED) and inputs > 0


def finding_of(status, text):
    if status in (0, INTERRUPTED):
        return "nothing found" + (", ended early by a busy machine or a signal" if status == INTERRUPTED else "")
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


def asked_of(name):
    return INPUTS_ASKED_OF_ROLES if is_role(name) else INPUTS_ASKED


def print_totals(names):
    """Inputs of each target since its last finding."""
    totals = {}
    with open(RUNS, encoding="utf-8") as file:
        for line in file:
            match = RUN_LINE.match(line)
            if match:
                name, inputs, finding = match.groups()
                totals[name] = 0 if finding.startswith("FOUND") else totals.get(name, 0) + int(inputs)
    print(f"{'inputs since the last finding':<32}{'asked':>12}{'left':>12}")
    for name in names or sorted(totals):
        count = totals.get(name, 0)
        print(f"{name:<18}{count:>14}{asked_of(name):>12}{max(asked_of(name) - count, 0):>12}")


# ---- what the inputs reach ----

# A target's own folder or files, where its name does not say it.
SUBJECTS = {"cli": "tools/cli_parse", "cluster_file": "txn/client/cluster_file", "conf": "tools/quoinmon_conf", "packages": "tools/packages",
            "scenario": "sim/scenario", "history": "sim/checkers/", "records": "storage/engine_lmdb", "tables": "txn/", "messages": "net/message",
            "frames": "net/rpc", "raft": "roles/coordinator/raft/", "slots": "storage/slots", "diskqueue": "storage/diskqueue",
            "role_files": "roles/log/", "role_worker": "roles/worker/"}
COVERAGE_LINE = re.compile(r"^(UN)?COVERED_FUNC: hits: \d+ edges: \S+ (\S+) \S*?/((?:net|txn|storage|roles|sim|tools)/\S+?):\d+")


def print_coverage(name):
    command = [program(name), "-runs=0", "-print_coverage=1", "-max_len=4096", work_of(name)]
    _, text = run_program(command + [os.path.dirname(path) for path in kept_of(name)[:1]], 60)
    subject = SUBJECTS.get(name, f"roles/{name.removeprefix('role_')}/")
    folders, missing = {}, []
    for line in text.splitlines():
        match = COVERAGE_LINE.match(line)
        if not match:
            continue
        uncovered, function, path = match.groups()
        folder = folders.setdefault(subject if path.startswith(subject) else os.path.dirname(path) + "/", [0, 0])
        folder[0] += not uncovered
        folder[1] += 1
        if uncovered and path.startswith(subject):
            missing.append(function)
    print(f"{name}:")
    print("  " + ", ".join(f"{folder} {reached} of {all}" for folder, (reached, all) in sorted(folders.items()) if reached > 0))
    print(f"  nothing reaches, in {subject}: {' '.join(missing) or 'all is reached'}")


def keep_paths(name):
    with tempfile.TemporaryDirectory() as few:
        command = [program(name), "-set_cover_merge=1", "-use_counters=0", "-max_len=4096", *CHEAPLY, few, work_of(name)]
        status, text = run_program(command, 600)
        inputs = []
        for path in glob.glob(os.path.join(few, "*")):
            with open(path, "rb") as file:
                inputs.append(base64.b64encode(file.read()).decode())
    if status != 0 or not inputs:
        sys.exit(f"tests/fuzz/run.py: {name}: no paths to keep:\n{text[-1000:]}")
    with open(paths_of(name), "w", encoding="ascii") as file:
        file.write("".join(line + "\n" for line in sorted(inputs)))
    print(f"{name}: {len(inputs)} inputs kept")


def parse_arguments(arguments):
    options = {"seconds": 5, "executions": -1, "jobs": os.cpu_count() or 2, "targets": [], "record": False, "totals": False,
               "coverage": False, "keep": False}
    try:
        flags, rest = getopt.getopt(arguments, "h", ["help", "long", "seconds=", "executions=", "jobs=", "target=", "record", "totals",
                                                       "coverage", "keep"])
    except getopt.GetoptError as error:
        sys.exit(f"tests/fuzz/run.py: {error}; --help tells what it takes")
    if rest:
        sys.exit(f"tests/fuzz/run.py: unexpected argument: {rest[0]}")
    for flag, value in flags:
        if flag in ("-h", "--help"):
            print(__doc__.strip())
            sys.exit(0)
        if flag in ("--seconds", "--executions", "--jobs"):
            if not value.isdigit() or int(value) == 0:
                sys.exit(f"tests/fuzz/run.py: {flag}: not a number above 0: {value}")
            options[flag[2:]] = int(value)
        elif flag == "--long":
            options["seconds"] = 60
        elif flag == "--target":
            options["targets"].append(value.removeprefix("fuzz_"))
        else:
            options[flag[2:]] = True
    return options


def main():
    options = parse_arguments(sys.argv[1:])
    if options["totals"]:
        print_totals(options["targets"])
        return False
    if subprocess.run(["tools/build", "fuzz"], cwd=TOP).returncode != 0:
        print("FAIL  build/fuzz does not build\n0 passed, 1 failed")
        return True
    found = glob.glob(os.path.join(TOP, FOLDER, "fuzz_*"))
    names = sorted(os.path.basename(path).removeprefix("fuzz_") for path in found if os.path.isfile(path))
    unknown = set(options["targets"]) - set(names)
    if unknown:
        sys.exit(f"tests/fuzz/run.py: no such target: {sorted(unknown)[0]}; there are: {' '.join(names)}")
    names = options["targets"] or names
    if options["coverage"] or options["keep"]:
        for name in names:
            (keep_paths if options["keep"] else print_coverage)(name)
        return False
    failed, results = 0, []
    with concurrent.futures.ThreadPoolExecutor(options["jobs"]) as pool:
        for result in pool.map(lambda name: run_one(name, options), names):
            name, status, inputs, text = result
            results.append(result)
            print(f"{'ok  ' if is_good(status, inputs) else 'FAIL'}  fuzz_{name}: {inputs} inputs", flush=True)
            if not is_good(status, inputs):
                failed += 1
                print("\n".join("      " + line for line in text.splitlines()[-40:]))
    if options["record"]:
        record(results)
        print_totals(names)
    print(f"{len(names) - failed} passed, {failed} failed")
    return failed > 0 or not names


if __name__ == "__main__":
    sys.exit(main())
