"""What a failing seed leaves behind: its folder, its explanation, a smaller scenario; and what a soak writes down."""
import os
import subprocess
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MUST_FAIL = "tests/sim/must-fail/no-time-to-heal.ini"
LIMIT_S = 120


def run(command):
    """Status and everything it printed."""
    done = subprocess.run(command, cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=LIMIT_S)
    return done.returncode, done.stdout.decode(errors="replace")


def sim(*arguments):
    return run(["build/release/bin/quoin-sim", "--test", MUST_FAIL, "--seed", "5", *arguments])


def a_failing_seed_leaves_a_folder_that_explains_it(scratch):
    status, text = sim("--failures", scratch)
    assert status == 1 and "folder: " in text, text
    folder = os.path.join(scratch, "no-time-to-heal-5")
    for name in ("failure.txt", "scenario.ini", "output.txt", "trace.gz", "report.txt", "explanation.txt", "cause.dot"):
        assert os.path.exists(os.path.join(folder, name)), f"{name} is missing: {os.listdir(folder)}"
    with open(os.path.join(folder, "report.txt"), encoding="utf-8") as file:
        report = file.read()
    for words in ("fault\tkill\t", "\nmetric\t", "\tprocess\tframes_in\t", "\tcoordinator\t"): # nobody need lead at the heal
        assert words in report, report
    with open(os.path.join(folder, "explanation.txt"), encoding="utf-8") as file:
        explanation = file.read()
    for words in ("FAILED no commit within 0 s", "how it stands at the end", "coordinator0", "what waits", "world         strike "):
        assert words in explanation, explanation
    status, text = run(["tools/explain", os.path.join(folder, "trace.gz"), "--process", "storage0", "--depth", "5"])
    assert status == 0 and "what led to it, newest last" in text, text


def no_folder_is_left_when_none_is_wanted(scratch):
    assert sim("--failures", scratch, "--no-failure-folder")[0] == 1
    assert sim("--failures", scratch, "--trace", os.path.join(scratch, "trace"))[0] == 1
    assert os.listdir(scratch) == ["trace"], os.listdir(scratch)


def shrinking_keeps_what_fails_in_the_same_way(scratch):
    status, text = sim("--shrink", "--limit", "60", "--failures", scratch)
    assert status == 0 and "all = off" in text and "workloads = Increment" in text, text
    small = os.path.join(scratch, "no-time-to-heal-5", "shrunk.ini")
    status, text = run(["build/release/bin/quoin-sim", "--test", small, "--seed", "5", "--no-failure-folder"])
    assert status == 1 and "no commit within 0 s" in text, text


def a_soak_writes_one_line_and_each_failure(scratch):
    lines = os.path.join(scratch, "SEEDS")
    status, text = run(["tools/soak", "--minutes", "0.02", "--jobs", "1", "--scenario", "tests/sim/one-process.ini",
                        "--seeds-file", lines])
    with open(lines, encoding="utf-8") as file:
        written = file.read().splitlines()
    assert len(written) >= 1 and " scenarios, from " in written[0] and written[0].endswith(f"{len(written) - 1} failed"), written
    assert status == (1 if len(written) > 1 else 0), text


def reads_do_not_keep_their_latency_without_a_second_request(_scratch):
    status, text = run(["build/release/bin/quoin-sim", "--test", "tests/sim/must-fail/no-second-request.ini", "--seed", "1",
                        "--no-failure-folder"])
    assert status == 1 and "SteadyReads: a " in text, text


def a_loss_within_the_limit_is_not_called_one_beyond_it(_scratch):
    status, text = run(["build/release/bin/quoin-sim", "--test", "tests/sim/must-fail/loss-within-the-limit.ini", "--seed", "1",
                        "--no-failure-folder"])
    assert status == 1 and "everything is there" in text and "lost beyond the limit" not in text, text


TESTS = [a_loss_within_the_limit_is_not_called_one_beyond_it, a_failing_seed_leaves_a_folder_that_explains_it, no_folder_is_left_when_none_is_wanted,
         shrinking_keeps_what_fails_in_the_same_way, a_soak_writes_one_line_and_each_failure,
         reads_do_not_keep_their_latency_without_a_second_request]


def run_all():
    """(passed, failed)."""
    failed = 0
    for test in TESTS:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                test(scratch)
            except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
                failed += 1
                print(f"FAIL  {test.__name__}\n      {error}", flush=True)
    return len(TESTS) - failed, failed


if __name__ == "__main__":
    good, bad = run_all()
    print(f"{good} passed, {bad} failed")
    raise SystemExit(bad > 0)
