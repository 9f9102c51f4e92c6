"""A program in quoind's place, for the tests of the supervisor: takes quoind's flags, says how it was started, waits.

A file named DATADIR/die makes it exit at once with status 3; DATADIR/deaf makes it ignore SIGTERM.
"""
import os
import signal
import sys

arguments = sys.argv[1:]
data = arguments[arguments.index("-d") + 1]
os.makedirs(data, exist_ok=True)
if os.path.exists(os.path.join(data, "deaf")):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(os.path.join(data, "starts"), "a") as file:
    file.write(f"{os.getpid()} {' '.join(arguments)}\n")
if os.path.exists(os.path.join(data, "die")):
    sys.exit(3)
while True:
    signal.pause()
