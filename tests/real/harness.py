"""A scratch directory, real processes in it, and the promise that nothing stays behind."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("QUOIN_TEST_BUILD", "release")


def build():
    return subprocess.run(["tools/build", BUILD], cwd=TOP).returncode == 0


def program(name):
    path = os.path.join(TOP, "build", BUILD, "bin", name)
    if not os.path.exists(path):
        raise AssertionError(f"no build/{BUILD}/bin/{name}")
    return path


def free_ports(count):
    """A base port with `count` free ports in a row, below the range from which the system draws ephemeral ones."""
    start = 20000 + (os.getpid() * 64) % 10000
    for base in list(range(start, 32000 - count, count)) + list(range(20000, start, count)):
        held = []
        try:
            for port in range(base, base + count):
                held.append(socket.socket())
                held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                held[-1].bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
        finally:
            for sock in held:
                sock.close()
    raise RuntimeError(f"no {count} free ports in a row")


def wait_until(what, condition, seconds=10.0, interval=0.02):
    """Waits for condition() to be true and returns its value; fails with `what` when it stays false."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(interval)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Scratch:
    """A directory under /tmp, and every process that was started in it; used as `with Scratch(name) as scratch`."""

    def __init__(self, name):
        self.name = name
        self.dir = None
        self.processes = []
        self.clusters = []
        self.mounts = []

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix=f"quoin-{self.name[5:25]}-")
        return self

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)
        return self.path(name)

    def start(self, command, **options):
        """A process in a session of its own, killed at the end of the test."""
        process = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, **options)
        self.processes.append(process)
        return process

    def local_cluster(self, *arguments, check=True, timeout=90, environment=None):
        command = [os.path.join(TOP, "tools/local-cluster"), *arguments, "--build", BUILD]
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
                             env=dict(os.environ, **(environment or {})))
        if check and run.returncode != 0:
            raise AssertionError(f"{' '.join(command)} exited {run.returncode}:\n{run.stdout}{run.stderr}")
        return run

    def start_cluster(self, *arguments, name="cluster", port=None, environment=None):
        """Starts a local cluster on free ports (from `port` on); returns the path of its cluster file. Its processes get
        the environment beside this one's."""
        where = self.path(name)
        self.clusters.append(where)
        port = port or free_ports(16)
        run = self.local_cluster("start", "--dir", where, "--port", str(port), *arguments, environment=environment)
        return run.stdout.strip().rsplit("\n", 1)[-1]

    def __exit__(self, kind, *_):
        for where in self.clusters:
            if os.path.exists(os.path.join(where, "quoinmon.pid")):
                self.local_cluster("resume", "all", "--dir", where, check=False)
                self.local_cluster("stop", "--dir", where, check=False)
        for process in self.processes:
            if process.stdin:
                process.stdin.close()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGCONT)
                process.kill()
            process.wait()
        for where in self.mounts:
            subprocess.run(["umount", "-l", where])
        if kind not in (None, SystemExit):
            self.keep()
        shutil.rmtree(self.dir, ignore_errors=True)

    def keep(self):
        """All of it: data directories, traces and what the clients said, for whoever looks for the cause."""
        kept = os.path.join(TOP, "build/test", self.name)
        shutil.rmtree(kept, ignore_errors=True)
        os.makedirs(os.path.dirname(kept), exist_ok=True)
        shutil.move(self.dir, kept)
        print(f"      data directories and traces are kept in {os.path.relpath(kept, TOP)}")


def run_one(name, function, long_):
    """One test, in a Scratch of its own; says how it went. True if it passed."""
    began = time.monotonic()
    try:
        with Scratch(name) as scratch:
            function(scratch, long_)
        problem = None
    except Exception:
        problem = traceback.format_exc()
    print(f"{'FAIL' if problem else 'ok  '}  {name} ({time.monotonic() - began:.1f} s)", flush=True)
    if problem:
        print(problem, flush=True)
    return not problem
