"""Runs the simulator: 100 fixed seeds over all scenarios, 50 drawn from the commit, some of them again in other builds; and the
scenarios of tests/sim/seeds, each with the seed that it names, which once found a bug; what a failing seed leaves
behind (failures.py); what loses more than the replication bears (tests/sim/loss), which must say so; and each lie of tests/sim/lies with a few
seeds, which is one test by the file's name. And tests/sim/move-kills.ini as a table: each stage of a move with each of those who may die at it;
and tools/plan-time, which wants a plan over 10,000 shards to cost no more a shard than one over 1,000.

Equal hashes prove that a seed decides everything: by build/asan, nothing depends on addresses or on what the allocator left
behind; by build/clang (-O0), nothing on the order of evaluation or on undefined behaviour; with a trace, nothing on being watched.
Each seed is one test. A failure prints the one command that repeats it. At the end, as information alone:
which BUGGIFY sites, probes and faults these few seeds did not come to (tools/sim-report).
"""
import concurrent.futures
import glob
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time

import failures

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OK = re.compile(r"^ok seed=(\d+) hash=([0-9a-fx]+) simulated=(\S+) real=(\S+)")
FIXED, DRAWN, LIE_SEEDS = 100, 50, 4
# Each stage of a move with each of those who may die at it: a cell of the table is a seed (sim/workloads/move_kills.c).
TABLE, TABLE_CELLS = "tests/sim/move-kills.ini", 77
CELL = re.compile(r"^shown: (when .*, the .* dies): killed (\d+) times, without power (\d+) times, away for long (\d+) times", re.M)
# Which runs come again: the build, what is said beside the seed, how many.
AGAIN = [("asan", [], 10), ("clang", [], 6), ("release", ["--trace", "/dev/null"], 4)]
SEED_TIMEOUT_S = 300


def commit_seeds(count):
    """Seeds that change with every commit, and that the printed commit reproduces."""
    run = subprocess.run(["git", "rev-parse", "HEAD"], cwd=TOP, capture_output=True, text=True)
    commit = run.stdout.strip() or "no-commit"
    digest = [hashlib.sha256(f"{commit} {i}".encode()).digest() for i in range(count)]
    return commit, [1_000_000 + int.from_bytes(d[:4], "big") for d in digest]


def run_seed(type_, scenario, seed, extra=()):
    """Returns (hash or None, simulated seconds text, what it printed)."""
    command = [f"build/{type_}/bin/quoin-sim", "--test", scenario, "--seed", str(seed), *extra]
    env = dict(os.environ, UBSAN_OPTIONS="print_stacktrace=1", ASAN_OPTIONS="detect_leaks=1")
    try:
        run = subprocess.run(command, cwd=TOP, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, timeout=SEED_TIMEOUT_S)
    except subprocess.TimeoutExpired as expired:
        text = (expired.stdout or b"").decode(errors="replace")
        return None, "", f"{text}\nno end after {SEED_TIMEOUT_S} s\n"
    text = run.stdout.decode(errors="replace")
    last = OK.match(text.strip().rsplit("\n", 1)[-1])
    if run.returncode != 0 or not last or int(last.group(1)) != seed:
        return None, "", text + f"\nexit status {run.returncode}\n"
    return last.group(2), last.group(3), text


def bound_seed(scenario):
    """The seed that a scenario below tests/sim/seeds is bound to."""
    with open(os.path.join(TOP, scenario), encoding="utf-8") as file:
        return int(re.search(r"^seed *= *(\d+)", file.read(), re.M).group(1))


def run_lie(scenario, seeds):
    """The first of these seeds that does not end as the file says, with what it printed; or None."""
    for seed in range(1, seeds + 1):
        hash_, _, text = run_seed("release", scenario, seed)
        if hash_ is None:
            return seed, text
        if "/loss/" in scenario and not text.startswith("lost beyond the limit at "):
            return seed, f"{text}\nit does not say what was lost\n"
    return None


def report(name, type_, scenario, seed, text):
    print(f"FAIL  {name} {scenario} seed {seed} ({type_})")
    print("\n".join("      " + line for line in text.strip().split("\n")[-40:]))
    print(f"      repeat: tools/build {type_} && build/{type_}/bin/quoin-sim --test {scenario} --seed {seed}", flush=True)


def spread(jobs, count, first):
    """That many of the jobs, from all over the list, so that all scenarios come up."""
    step = max(1, len(jobs) // count)
    return [jobs[(first + i * step) % len(jobs)] for i in range(count)]


def missing_cells(texts):
    """How many cells of the table no run has proved to strike."""
    struck = set()
    for text in texts:
        found = CELL.search(text)
        if found and any(int(n) > 0 for n in found.groups()[1:]):
            struck.add(found.group(1))
    return TABLE_CELLS - len(struck)


def report_to(reports, job):
    return ("--report", os.path.join(reports, f"{job[0]}.{os.path.basename(job[1])}.{job[2]}"))


def say_coverage(reports):
    said = subprocess.run(["tools/sim-report", reports], cwd=TOP, capture_output=True, text=True)
    print("\n".join("      " + line for line in (said.stdout or said.stderr).strip().split("\n")))


def main():
    factor = 5 if "--long" in sys.argv[1:] else 1
    scenarios = sorted(os.path.relpath(path, TOP) for path in glob.glob(os.path.join(TOP, "tests/sim/*.ini")))
    for type_ in ("release", "asan", "clang"):
        if subprocess.run(["tools/build", type_], cwd=TOP).returncode != 0:
            print(f"FAIL  build/{type_} does not build")
            print("0 passed, 1 failed")
            return True
    if not os.path.exists(os.path.join(TOP, "build/release/bin/quoin-sim")) or not scenarios:
        print("sim: NOTHING TO RUN YET: there is no quoin-sim or no tests/sim/*.ini")
        print("0 passed, 0 failed")
        return False

    commit, drawn = commit_seeds(DRAWN * factor)
    print(f"sim: commit {commit} draws the seeds {' '.join(map(str, drawn[:DRAWN]))}{' ...' if factor > 1 else ''}")
    jobs = [("fixed", scenarios[i % len(scenarios)], 1 + i) for i in range(FIXED * factor)]
    jobs += [("drawn", scenarios[i % len(scenarios)], seed) for i, seed in enumerate(drawn)]
    bound = sorted(os.path.relpath(path, TOP) for path in glob.glob(os.path.join(TOP, "tests/sim/seeds/*.ini")))
    jobs += [("bound", scenario, bound_seed(scenario)) for scenario in bound]
    jobs += [("table", TABLE, seed) for seed in range(1, TABLE_CELLS * factor + 1)]
    lie_files = sorted(os.path.relpath(path, TOP) for path in glob.glob(os.path.join(TOP, "tests/sim/lies/**/*.ini"), recursive=True))
    lie_files += sorted(os.path.relpath(path, TOP) for path in glob.glob(os.path.join(TOP, "tests/sim/loss/*.ini")))
    again = [(type_, extra, job) for nth, (type_, extra, count) in enumerate(AGAIN)
             for job in spread(jobs, count * factor, nth)]
    passed = failed = 0
    hashes = {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="quoin-sim-reports.") as reports, \
            concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        runs = [(job, pool.submit(run_seed, "release", job[1], job[2], report_to(reports, job))) for job in jobs]
        lies = [(scenario, pool.submit(run_lie, scenario, LIE_SEEDS * factor)) for scenario in lie_files]
        repeats = [(type_, job, pool.submit(run_seed, type_, job[1], job[2], extra)) for type_, extra, job in again]
        cells = []
        for (name, scenario, seed), run in runs:
            hash_, _, text = run.result()
            if name == "table":
                cells.append(text)
            hashes[scenario, seed] = hash_
            passed, failed = passed + (hash_ is not None), failed + (hash_ is None)
            if hash_ is None:
                report(name, "release", scenario, seed, text)
        for scenario, run in lies:
            wrong = run.result()
            passed, failed = passed + (wrong is None), failed + (wrong is not None)
            if wrong is not None:
                report("lie", "release", scenario, *wrong)
        for type_, (name, scenario, seed), run in repeats:
            hash_, _, text = run.result()
            first = hashes[scenario, seed]
            same = hash_ is not None and (first is None or first == hash_)
            passed, failed = passed + same, failed + (not same)
            if hash_ is None:
                report("again", type_, scenario, seed, text)
            elif not same:
                report("again", type_, scenario, seed, f"the hash was {first}, and now it is {hash_}")
        say_coverage(reports)
    missing = missing_cells(cells)
    if missing != 0:
        print(f"FAIL  {missing} of {TABLE_CELLS} cells of {TABLE} were struck by no run")
    passed, failed = passed + (missing == 0), failed + (missing != 0)
    plans = subprocess.run(["tools/plan-time"], cwd=TOP, capture_output=True, text=True)
    print("\n".join("      " + line for line in (plans.stdout + plans.stderr).strip().split("\n")))
    passed, failed = passed + (plans.returncode == 0), failed + (plans.returncode != 0)
    if plans.returncode != 0:
        print("FAIL  tools/plan-time: what a plan of the data distributor costs by the number of shards")
    good, bad = failures.run_all()
    passed, failed = passed + good, failed + bad
    print(f"sim: {len(jobs)} seeds and {len(again)} repeats over {len(scenarios)} scenarios, {len(lie_files)} lies "
          f"in {time.monotonic() - began:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
