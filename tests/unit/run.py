"""Runs the unit tests of build/release and build/asan, and proves that the sanitizers catch what they are there for.

Counts single Criterion tests. Under the sanitizers a report that a test process left behind fails the run, whatever
the exit status was: Criterion's children may leave without telling.
"""
import concurrent.futures
import glob
import json
import os
import re
import shutil
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SYNTHESIS = re.compile(r"Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+) \| Crashing: (\d+)")
TIMEOUT_S = 240
PROOF = "test_sanitizer_proof"
# Printed by ASan at the first swapcontext of a process, whatever that does; sim/fiber.c tells it of each change of stacks.
FIBERS = re.compile(r"^==\d+==WARNING: ASan doesn't fully support makecontext/swapcontext functions.*\n", re.MULTILINE)


def meson_tests(build):
    """(name, command) of every test that meson knows and is not a proof."""
    out = subprocess.run(["meson", "introspect", "--tests", build], cwd=TOP, capture_output=True, text=True, check=True)
    return [(test["name"], test["cmd"], test.get("workdir"), test.get("env", {})) for test in json.loads(out.stdout)]


def sanitizer_env(log):
    common = f"log_path={log}:abort_on_error=0"
    return {
        "ASAN_OPTIONS": f"{common}:detect_leaks=1:exitcode=99:detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": f"{common}:print_stacktrace=1",
        "LSAN_OPTIONS": "report_objects=1",
        "CRITERION_JOBS": "1",  # programs run side by side already; and with more, Criterion itself leaks now and then
    }


def read_reports(logs):
    """(file, text) of every report that the sanitizers wrote."""
    found = []
    for name in sorted(glob.glob(logs + ".*")):
        with open(name, errors="replace") as file:
            text = FIBERS.sub("", file.read())
        if text.strip():
            found.append((name, text))
    return found


def run_one(build, name, command, workdir, extra_env):
    """Runs one program; returns (passed, failed, text to show)."""
    logs = os.path.join(TOP, build, "sanitizer", re.sub(r"\W+", "_", name))
    os.makedirs(os.path.dirname(logs), exist_ok=True)
    for old in glob.glob(logs + ".*"):
        os.remove(old)
    env = dict(os.environ, **extra_env, **sanitizer_env(logs))
    try:
        run = subprocess.run(command, cwd=workdir or os.path.join(TOP, build), env=env, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT_S)
        output, status = run.stdout.decode(errors="replace"), run.returncode
    except subprocess.TimeoutExpired as expired:
        output, status = (expired.stdout or b"").decode(errors="replace") + f"\nno end after {TIMEOUT_S} s\n", -1
    reports = read_reports(logs)
    found = SYNTHESIS.search(re.sub(r"\x1b\[[0-9;]*m", "", output))
    if found:
        _, passed, failing, crashing = map(int, found.groups())
        failed = failing + crashing
    else:
        passed, failed = (1, 0) if status == 0 else (0, 1)
    if failed == 0 and (status != 0 or reports):
        passed, failed = max(passed - 1, 0), 1
    for name_, report in reports:
        output += f"\n-- {os.path.relpath(name_, TOP)}\n" + report[:6000]
    return passed, failed, output


def run_build(build):
    passed = failed = 0
    tests = [test for test in meson_tests(build) if PROOF not in test[1][0]]
    if not tests:
        print(f"unit: NOTHING TO RUN YET in {build}: no test is declared")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        runs = [(test[0], pool.submit(run_one, build, *test)) for test in tests]
        for name, run in runs:
            good, bad, output = run.result()
            passed, failed = passed + good, failed + bad
            print(f"{'FAIL' if bad else 'ok  '}  {build} {name}: {good} of {good + bad}")
            if bad:
                print(output)
    return passed, failed


def prove_net(build):
    """Every planted mistake must fail in the sanitizer build, or a green run says nothing."""
    program = os.path.join(TOP, build, "tests/unit", PROOF)
    passed = failed = 0
    for mistake in ("leak", "overflow", "undefined", "use_after_free", "leak_in_program"):
        command = [program, "--leak"] if mistake == "leak_in_program" else [program, "--filter", f"sanitizer_proof/{mistake}"]
        _, bad, output = run_one(build, f"proof {mistake}", command, None, {})
        caught = bad == 1
        print(f"{'ok  ' if caught else 'FAIL'}  {build} the sanitizers catch: {mistake}")
        if not caught:
            print(output)
        passed, failed = passed + caught, failed + (not caught)
    return passed, failed


def main():
    passed = failed = 0
    for type_ in ("release", "asan"):
        if subprocess.run(["tools/build", type_], cwd=TOP).returncode != 0:
            print(f"FAIL  build/{type_} does not build")
            failed += 1
            continue
        shutil.rmtree(os.path.join(TOP, "build", type_, "sanitizer"), ignore_errors=True)
        good, bad = run_build(f"build/{type_}")
        passed, failed = passed + good, failed + bad
        if type_ == "asan":
            good, bad = prove_net(f"build/{type_}")
            passed, failed = passed + good, failed + bad
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
