"""Replays the corpus of every fuzz target, then runs it for a while, on both cores; each is one test.

A finding is kept in build/fuzz/work/TARGET; `build/fuzz/tests/fuzz/TARGET FILE` repeats it.
"""
import concurrent.futures
import glob
import os
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def run_one(target, seconds):
    name = os.path.basename(target)
    work = os.path.join(TOP, "build/fuzz/work", name)
    os.makedirs(work, exist_ok=True)
    kept = os.path.join(TOP, "tests/fuzz/corpus", name.removeprefix("fuzz_"))
    run = subprocess.run([target, f"-max_total_time={seconds}", f"-artifact_prefix={work}/", "-max_len=4096",
                          "-print_final_stats=1", "-timeout=20", work] + ([kept] if os.path.isdir(kept) else []), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, timeout=seconds + 120)
    return name, run.returncode, run.stdout.decode(errors="replace")


def main():
    seconds = 60 if "--long" in sys.argv[1:] else 5
    if subprocess.run(["tools/build", "fuzz"], cwd=TOP).returncode != 0:
        print("FAIL  build/fuzz does not build\n0 passed, 1 failed")
        return True
    targets = sorted(path for path in glob.glob(os.path.join(TOP, "build/fuzz/tests/fuzz/fuzz_*")) if os.path.isfile(path))
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for name, status, text in pool.map(lambda target: run_one(target, seconds), targets):
            runs = [line.split()[-1] for line in text.splitlines() if "number_of_executed_units" in line]
            print(f"{'ok  ' if status == 0 else 'FAIL'}  {name}: {runs[0] if runs else '?'} inputs", flush=True)
            if status != 0:
                failed += 1
                print("\n".join("      " + line for line in text.splitlines()[-40:]))
    print(f"{len(targets) - failed} passed, {failed} failed")
    return failed > 0 or not targets


if __name__ == "__main__":
    sys.exit(main())
