"""Bad input, typed by hand: a clear error that names what is wrong, an exit status, and nothing lost."""
import json
import os
import socket
import subprocess
import time

from harness import TOP, alive, free_ports, program, wait_until


def run(*command, timeout=15, **options):
    """(exit status, everything printed, seconds)."""
    began = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=timeout, **options)
    return done.returncode, done.stdout.decode(errors="replace"), time.monotonic() - began


def expect_failure(*command, names, seconds=5.5, **options):
    """The command fails in time and its text has each of `names`."""
    status, text, took = run(*command, **options)
    assert status not in (0, None) and status > 0, f"{command} exited {status}:\n{text}"
    for name in names:
        assert name in text, f"{command} does not say `{name}`:\n{text}"
    assert took < seconds, f"{command} took {took:.1f} s"


def shell(cluster_file, commands, timeout=5):
    """The objects that quoincli --json printed, and its exit status."""
    done = subprocess.run([program("quoincli"), "-C", cluster_file, "--json", "--timeout", str(timeout), "--exec", commands],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout + 10)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")], done.returncode


def cluster_file(scratch, text, name="quoin.cluster"):
    return scratch.write(name, text)


def quoind(scratch, file, port, data="data", *more):
    return [program("quoind"), "-C", file, "-p", f"127.0.0.1:{port}", "-d", scratch.path(data), "-L", scratch.path("log"),
            *more]


def logged(scratch, folder="log"):
    text = ""
    for where, _, names in os.walk(scratch.path(folder)):
        for name in names:
            with open(os.path.join(where, name), errors="replace") as file:
                text += file.read()
    return text


def test_bad_flags_and_commands_are_named(scratch, _):
    file = cluster_file(scratch, f"a:b@127.0.0.1:{free_ports(1)}\n")
    for name in ("quoind", "quoincli", "quoin-bench", "quoin-sim", "quoinmon", "quoin-quickstart"):
        expect_failure(program(name), "--flavour=mint", names=["flavour"])
        status, text, _ = run(program(name), "--help")
        assert status == 0 and name in text, f"{name} --help: {status}\n{text}"
    for name in ("quickstart", "test", "build", "deps", "local-cluster"):
        expect_failure(os.path.join(TOP, "tools", name), "--flavour", names=["flavour"])
    expect_failure(program("quoincli"), "-C", file, "--exec", "frobnicate", names=["frobnicate"])
    expect_failure(program("quoind"), "-C", file, "-p", "nowhere", "-d", scratch.path("data"), names=["nowhere"])
    expect_failure(program("quoind"), "-C", file, "-p", "127.0.0.1:1", "-d", scratch.path("data"), "-c", "king",
                   names=["king"])
    expect_failure(program("quoind"), "-C", file, "-p", "127.0.0.1:1", "-d", scratch.path("data"), "--knob-colour=1",
                   names=["colour"])


def test_a_malformed_cluster_file_is_named(scratch, _):
    for text in ("", "nonsense\n", "a:b@\n", "a:b@127.0.0.1\n", "a:b@127.0.0.1:99999\n", "a:b@127.0.0.1:x\n", "a b:c@127.0.0.1:1\n",
                 "a:b@127.0.0.1:1,\n", "a:b@127.0.0.1:1,127.0.0.1:1\n", "a@127.0.0.1:1\n"):
        file = cluster_file(scratch, text)
        expect_failure(program("quoincli"), "-C", file, "--exec", "get x", names=[file])
        expect_failure(*quoind(scratch, file, free_ports(1)), names=[file])
    expect_failure(program("quoincli"), "-C", "/nonexistent/c", "--exec", "get x", names=["/nonexistent/c"])


def test_unreachable_coordinators_are_named_within_five_seconds(scratch, _):
    port = free_ports(3)
    file = cluster_file(scratch, f"a:b@127.0.0.1:{port},127.0.0.1:{port + 1},127.0.0.1:{port + 2}\n")
    names = [f"127.0.0.1:{port + i}" for i in range(3)]
    for command in ("get x", "status", "writemode on; set a b"):
        expect_failure(program("quoincli"), "-C", file, "--exec", command, names=names)
    expect_failure(program("quoin-bench"), "--cluster", file, "--workload", "put", names=names)
    expect_failure(program("quoin-quickstart"), "--cluster", file, names=names)


def test_silent_coordinators_are_named_within_five_seconds(scratch, _):
    """The port is open, and nobody ever says a word: as of a process that is stopped, or a machine that swaps."""
    port = free_ports(1)
    file = cluster_file(scratch, f"a:b@127.0.0.1:{port}\n")
    with socket.create_server(("127.0.0.1", port)):
        expect_failure(program("quoincli"), "-C", file, "--exec", "get x", names=[f"127.0.0.1:{port}"])


def test_a_port_in_use_is_named(scratch, _):
    port = free_ports(1)
    file = cluster_file(scratch, f"a:b@127.0.0.1:{port}\n")
    with socket.create_server(("127.0.0.1", port)):
        expect_failure(*quoind(scratch, file, port), names=[f"127.0.0.1:{port}", "in use"])


def test_a_data_directory_in_use_is_named(scratch, _):
    port = free_ports(2)
    file = cluster_file(scratch, f"a:b@127.0.0.1:{port}\n")
    first = scratch.start(quoind(scratch, file, port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until("it listens", lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
    expect_failure(*quoind(scratch, file, port + 1), names=[scratch.path("data"), "in use"])
    assert first.poll() is None


def test_no_permission_is_named(scratch, _):
    port = free_ports(1)
    file = cluster_file(scratch, f"a:b@127.0.0.1:{port}\n")
    os.makedirs(scratch.path("data"), mode=0o700)
    os.chmod(scratch.dir, 0o755)
    os.chmod(scratch.path("data"), 0o500)
    command = quoind(scratch, file, port, "data")
    command[command.index("-L") + 1] = "/tmp"
    if os.geteuid() == 0:
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    expect_failure(*command, names=[scratch.path("data"), "ermission denied"])


def test_sigterm_stops_a_server_cleanly(scratch, _):
    port = free_ports(1)
    file = cluster_file(scratch, f"a:b@127.0.0.1:{port}\n")
    server = scratch.start(quoind(scratch, file, port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until("it listens", lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
    server.terminate()
    assert server.wait(5) == 0


def test_what_is_too_large_or_inverted_has_its_number(scratch, _):
    file = scratch.start_cluster("--processes", "one")
    cases = [("set " + "k" * 10001 + " v", 2102), ("set k " + "v" * 100001, 2103), ("getrange b a", 2005),
             ("clearrange b a", 2005), ("clear " + "k" * 10001, 2102)]
    for command, code in cases:
        answers, status = shell(file, f"writemode on; {command}")
        assert status == 1, f"{command[:30]} exited {status}"
        assert not answers[-1]["ok"] and answers[-1]["error"]["code"] == code, (command[:30], answers[-1])
    for command in ("set " + "k" * 10000 + " v", "set k " + "v" * 100000):
        answers, status = shell(file, f"writemode on; {command}")
        assert status == 0 and answers[-1]["ok"], (command[:30], answers)
    answers, _ = shell(file, "get " + "k" * 10000)
    assert answers[-1]["ok"], answers
    answers, status = shell(file, "set a b")
    assert status == 1 and not answers[-1]["ok"], "writes without writemode"


def test_a_transaction_that_is_too_large_has_its_number(scratch, _):
    file = scratch.start_cluster("--processes", "one")
    commands = "writemode on\nbegin\n" + "".join(f"set k{i} {'v' * 100000}\n" for i in range(101)) + "commit\n"
    done = subprocess.run([program("quoincli"), "-C", file], input=commands, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "(2101)" in done.stdout + done.stderr, (done.returncode, done.stdout[-300:], done.stderr[-300:])
    answers, _ = shell(file, "get k1")
    assert "vvv" not in json.dumps(answers[-1]), "half of it was written"


def test_a_data_directory_of_another_cluster_is_refused(scratch, _):
    first = scratch.start_cluster("--processes", "one", name="first")
    shell(first, "writemode on; set a first")
    scratch.local_cluster("stop", "--dir", scratch.path("first"))
    second = scratch.start_cluster("--processes", "one", name="second")
    shell(second, "writemode on; set a second")
    stray_port = free_ports(1)
    data = os.path.join(scratch.path("first", "data"), os.listdir(scratch.path("first", "data"))[0])
    stray = scratch.start([program("quoind"), "-C", second, "-p", f"127.0.0.1:{stray_port}", "-d", data, "-L",
                           scratch.path("log"), "-c", "storage"], stdout=open(scratch.path("stray.log"), "w"),
                          stderr=subprocess.STDOUT)
    def refused():
        return "cluster id" in (logged(scratch) + open(scratch.path("stray.log")).read()).replace("_", " ").lower()

    wait_until("it refuses and says so", refused)
    answers, status = shell(second, "get a")
    assert status == 0 and "second" in json.dumps(answers[-1]), answers
    if stray.poll() is None:
        assert alive(stray.pid)
