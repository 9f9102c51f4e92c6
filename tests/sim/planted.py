"""The planted bugs: none is left in what is released, quoin-sim and tools/planted-bugs say so when asked wrongly, and a sample is found.

Each line is one test. The sample's bugs are found by early seeds of the order that tools/planted-bugs always takes.
"""
import glob
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = "tools/planted-bugs"
# A checker, a hang, a wrong answer, Raft's durability, who owns a shard.
SAMPLE = ("versionstamp-reused", "reply-before-sequencer-knows", "pop-too-early", "storage-serves-above-its-version",
          "raft-vote-not-persisted", "two-owners-after-move")
SAMPLE_SEEDS = 30


def run(*command):
    done = subprocess.run(command, cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def bug_names():
    """Read from the source, so that a build of the bugs is not needed to look for them elsewhere."""
    with open(os.path.join(TOP, "net/planted_bug.h"), encoding="utf-8") as file:
        return re.findall(r'^    X\(\w+, "([a-z-]+)"', file.read(), re.M)


def released():
    """Programs and shared libraries of the release."""
    found = [path for path in glob.glob(os.path.join(TOP, "build/release/bin/*")) if os.access(path, os.X_OK) and os.path.isfile(path)]
    return found + [path for path in glob.glob(os.path.join(TOP, "build/release/**/*.so*"), recursive=True)
                    if os.path.isfile(path) and not path.endswith(".symbols")]


def nothing_is_released():
    names = bug_names()
    problems = []
    for path in released():
        with open(path, "rb") as file:
            content = file.read()
        symbols = subprocess.run(["nm", "-a", path], capture_output=True, text=True, check=False).stdout
        problems += [f"{path}: the string {name}" for name in names if name.encode() in content]
        problems += [f"{path}: the symbol {line.split()[-1]}" for line in symbols.splitlines() if "planted" in line.lower()]
    if len(names) < 30 or len(released()) < 5:
        problems.append(f"{len(names)} names and {len(released())} files are too few to prove anything")
    return problems


def symbols_would_be_seen():
    """The same look at the build with bugs must find them."""
    symbols = run("nm", "-a", "build/bugs/bin/quoin-sim")[1]
    return [] if "planted_bug_on" in symbols else ["nm does not show the bugs where they are"]


def release_refuses():
    status, _, err = run("build/release/bin/quoin-sim", "--test", "tests/sim/default.ini", "--seed", "1", "--bug", bug_names()[0])
    return [] if status == 2 and "tools/build bugs" in err else [f"exit status {status}: {err}"]


def unknown_name_is_refused():
    status, _, err = run("build/bugs/bin/quoin-sim", "--test", "tests/sim/default.ini", "--seed", "1", "--bug", "no-such-bug")
    missing = [name for name in bug_names() if name not in err]
    return [] if status == 2 and not missing else [f"exit status {status}; not named: {missing}"]


def list_is_a_list():
    status, out, err = run(TOOL, "--list")
    listed = [line.split()[0] for line in out.splitlines()]
    return [] if status == 0 and not err and listed == bug_names() else [f"exit status {status}: {listed} {err}"]


def is_found(name):
    status, out, err = run(TOOL, "--only", name, "--seeds", str(SAMPLE_SEEDS))
    return [] if status == 0 and "found by" in out and "repeat: " in out else [out + err]


def main():
    for type_, targets in (("release", []), ("bugs", ["tools/quoin-sim"])):
        if subprocess.run(["tools/build", type_, *targets], cwd=TOP, check=False).returncode != 0:
            print(f"FAIL  build/{type_} does not build")
            print("0 passed, 1 failed")
            return True
    tests = [(check.__name__.replace("_", " "), check) for check in
             (nothing_is_released, symbols_would_be_seen, release_refuses, unknown_name_is_refused, list_is_a_list)]
    tests += [(f"{name} is found", lambda name=name: is_found(name)) for name in SAMPLE]
    failed = 0
    for title, check in tests:
        problems = check()
        print(f"{'FAIL' if problems else 'ok  '}  {title}")
        for problem in problems:
            print("\n".join("      " + line for line in problem.strip().split("\n")[-20:]))
        failed += bool(problems)
        sys.stdout.flush()
    print(f"{len(tests) - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
