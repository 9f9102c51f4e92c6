"""What a cluster costs that nobody uses; run by hand on a quiet machine, as the numbers are those of everything else too.

  tests/real/idle.py [SECONDS]

VmRSS of each process of an empty default cluster after SECONDS (60), the CPU of the whole cluster over the SECONDS after
that, and the time from an empty directory to the first commit of one process, `configure new` included.
"""
import os
import subprocess
import sys
import time

import harness


def cpu_seconds(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def name_of(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        words = file.read().decode().split("\0")
    return " ".join([os.path.basename(words[0])] + [words[words.index(flag) + 1] for flag in ("-p", "-c") if flag in words])


def idle(scratch, seconds):
    scratch.start_cluster()
    with open(scratch.path("cluster", "quoinmon.pid")) as file:
        monitor = int(file.read())
    with open(f"/proc/{monitor}/task/{monitor}/children") as file:
        pids = [monitor] + [int(pid) for pid in file.read().split()]
    time.sleep(seconds)
    resident = {pid: resident_kib(pid) for pid in pids}
    before = {pid: cpu_seconds(pid) for pid in pids}
    time.sleep(seconds)
    used = {pid: cpu_seconds(pid) - before[pid] for pid in pids}
    for pid in pids:
        print(f"{name_of(pid):<40} VmRSS {resident[pid] / 1024:6.1f} MiB   CPU {100 * used[pid] / seconds:6.3f} %")
    print(f"the largest: {max(resident.values()) / 1024:.1f} MiB; all: {sum(resident.values()) / 1024:.1f} MiB, "
          f"{100 * sum(used.values()) / seconds:.2f} % of one core over {seconds} s")


def first_commit(scratch, number):
    """Milliseconds; asks again as soon as it is refused, as who waits for a start does."""
    port = harness.free_ports(1)
    file = scratch.write(f"{number}.cluster", f"a:b@127.0.0.1:{port}\n")
    commands = "configure new single lmdb; writemode on; set a b"
    began = time.monotonic()
    server = scratch.start([harness.program("quoind"), "-C", file, "-p", f"127.0.0.1:{port}", "-d", scratch.path(f"data{number}")])
    while subprocess.run([harness.program("quoincli"), "-C", file, "--exec", commands], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
        assert time.monotonic() - began < 30 and server.poll() is None
        commands = "writemode on; set a b" if time.monotonic() - began > 5 else commands
    took = 1000 * (time.monotonic() - began)
    server.terminate()
    server.wait()
    return took


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    if not harness.build():
        return 1
    with harness.Scratch("test_idle") as scratch:
        times = sorted(first_commit(scratch, number) for number in range(7))
        print(f"empty directory to first commit: median {times[3]:.0f} ms, of 7: {times[0]:.0f} to {times[-1]:.0f} ms", flush=True)
        idle(scratch, seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
