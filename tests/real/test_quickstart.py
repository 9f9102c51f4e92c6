"""The README's first command, twice: the second run finds the cluster and the data."""
import os
import subprocess
import time

from harness import TOP, free_ports, program


def test_quickstart_loads_asks_and_finds_its_data_again(scratch, _):
    for name in ("quoind", "quoincli", "quoin-quickstart"):
        program(name)
    scratch.clusters.append(scratch.path("var"))
    command = [os.path.join(TOP, "tools/quickstart"), "--dir", scratch.path("var"), "--port", str(free_ports(16))]
    began = time.monotonic()
    first = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    took = time.monotonic() - began
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr[-3000:]
    assert took < 180, f"three minutes at most, not {took:.0f} s"
    assert "\x1b[" not in first.stdout + first.stderr, "colours without a terminal"
    second = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    assert second.returncode == 0 and "already" in second.stdout, second.stdout[-3000:] + second.stderr[-3000:]
    print(f"      {took:.0f} s")
