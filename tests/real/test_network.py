"""What arrives on a port: garbage, half and oversized frames, other protocol versions, other clusters."""
import json
import os
import random
import socket
import subprocess
import threading
import time

from harness import BUILD, TOP, free_ports, program, wait_until

FORGE = os.path.join(TOP, "build", BUILD, "tests/real/quoin-forge")
OTHER_VERSION = "00f0000000000001"
OTHER_CLUSTER = "123456789abcdef"


def forge(*arguments):
    return subprocess.run([FORGE, *arguments], check=True, stdout=subprocess.PIPE).stdout


def address_of(cluster_file):
    with open(cluster_file) as file:
        host, port = file.read().strip().split("@")[1].split(",")[0].split(":")
    return host, int(port)


def process_of(cluster_file):
    """What `status json` says of the one process."""
    run = subprocess.run([program("quoincli"), "-C", cluster_file, "--exec", "status json"], stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, check=True, timeout=20)
    return next(iter(json.loads(run.stdout)["cluster"]["processes"].values()))


def talk(address, *parts, timeout=3.0):
    """Sends, then reads until the other side closes: (everything read, whether it closed in time)."""
    heard = b""
    with socket.create_connection(address, timeout=timeout) as sock:
        try:
            for part in parts:
                sock.sendall(part)
            while True:
                more = sock.recv(65536)
                if not more:
                    return heard, True
                heard += more
        except ConnectionError:
            return heard, True
        except TimeoutError:
            return heard, False


def logs(scratch, cluster="cluster"):
    text = ""
    for where, _, names in os.walk(scratch.path(cluster, "log")):
        for name in names:
            with open(os.path.join(where, name), errors="replace") as file:
                text += file.read()
    return text


class Impostor:
    """A server that greets everybody who connects with the same bytes."""

    def __init__(self, port, greeting):
        self.greeting = greeting
        self.server = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.greet, daemon=True).start()

    def greet(self):
        while True:
            try:
                connection, _ = self.server.accept()
                connection.sendall(self.greeting)
                threading.Thread(target=self.drain, args=(connection,), daemon=True).start()
            except OSError:
                return

    def drain(self, connection):
        with connection:
            try:
                while connection.recv(65536):
                    pass
            except OSError:
                pass

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


def test_garbage_on_the_port_is_counted_and_harms_nobody(scratch, _):
    file = scratch.start_cluster("--processes", "one")
    address, before = address_of(file), process_of(file)
    hello = forge("hello", "ours", "0", "client")
    damaged = bytearray(hello)
    damaged[-1] ^= 1
    draw = random.Random(4)
    cases = [(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",), (b"\0" * 64,), (b"\xff" * 64,), (b"\xff\xff\xff\x7f" + b"a" * 100,),
             (damaged,), (forge("frame", "77", "8"),), (hello, hello), (hello, b"\xff\xff\xff\x7f" + b"a" * 100),
             (hello, b"\x01\0\0\0"), (hello, forge("frame", "10", "0")),
             (hello, forge("frame", "12", "500000")), (hello, forge("frame", "2", "70000") + b"z" * 40)]
    cases += [(draw.randbytes(4) + b"\1" + draw.randbytes(draw.randrange(40, 5000)),) for _ in range(40)]
    for parts in cases:
        _, closed = talk(address, *parts)
        assert closed, f"the connection is still open after {[bytes(part[:40]) for part in parts]}"
    after = process_of(file)
    counted = after["network"]["bad_frames"] - before["network"]["bad_frames"]
    assert counted >= len(cases), f"{counted} counted of {len(cases)}"
    assert after["pid"] == before["pid"], "the process was replaced"
    assert "BadFrame" in logs(scratch)


def test_half_frames_are_not_waited_for(scratch, _):
    file = scratch.start_cluster("--processes", "one")
    address, before = address_of(file), process_of(file)
    hello = forge("hello", "ours", "0", "client")
    half = [socket.create_connection(address) for _ in range(60)]
    for i, sock in enumerate(half):
        sock.sendall([b"\x40", hello[:20], hello[:-1]][i % 3])
    cut = [socket.create_connection(address) for _ in range(20)]
    for sock in cut:
        sock.sendall(hello + b"\x00\x10\x00\x00" + b"x" * 50)
        sock.close()
    run = subprocess.run([program("quoincli"), "-C", file, "--exec", "writemode on; set a b; get a"],
                         stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    assert run.returncode == 0 and "is `b'" in run.stdout, run
    for sock in half:
        sock.settimeout(10)
        while sock.recv(4096):
            pass
        sock.close()
    assert process_of(file)["pid"] == before["pid"], "the process was replaced"


def test_a_hello_of_another_version_or_cluster_is_refused_and_counted(scratch, _):
    file = scratch.start_cluster("--processes", "one")
    address, before = address_of(file), process_of(file)["network"]
    for version, cluster, why in ((OTHER_VERSION, "0", "incompatible_protocol_version"), ("ours", OTHER_CLUSTER, "invalid_cluster_id")):
        for who in ("client", "4000"):
            heard, closed = talk(address, forge("hello", version, cluster, who))
            assert closed and len(heard) >= 32, f"no hello in answer, or the connection stays: {heard}"
        wait_until(f"the log says {why}", lambda: why in logs(scratch))
    after = process_of(file)["network"]
    assert after["wrong_version"] == before["wrong_version"] + 2, after
    assert after["wrong_cluster"] == before["wrong_cluster"] + 2, after


def test_a_server_of_another_version_is_named(scratch, _):
    port = free_ports(2)
    file = scratch.write("quoin.cluster", f"a:b@127.0.0.1:{port}\n")
    impostor = Impostor(port, forge("hello", OTHER_VERSION, "0", str(port)))
    began = time.monotonic()
    run = subprocess.run([program("quoincli"), "-C", file, "--exec", "get x"], stdin=subprocess.DEVNULL, capture_output=True,
                         text=True, timeout=20)
    said = run.stdout + run.stderr
    assert run.returncode != 0 and f"127.0.0.1:{port}" in said and "another protocol version" in said, run
    assert time.monotonic() - began < 5.5
    scratch.start([program("quoind"), "-C", file, "-p", f"127.0.0.1:{port + 1}", "-d", scratch.path("data"), "-L",
                   scratch.path("cluster", "log")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until("the server says so too", lambda: "incompatible_protocol_version" in logs(scratch))
    impostor.close()


def test_a_client_notices_that_another_cluster_took_the_port(scratch, _):
    first = scratch.start_cluster("--processes", "one", name="first")
    port = str(address_of(first)[1])
    shell = subprocess.Popen([program("quoincli"), "-C", first, "--timeout", "4"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
    scratch.processes.append(shell)
    shell.stdin.write("writemode on\nset a first\nget a\n")
    shell.stdin.flush()
    while "first'" not in shell.stdout.readline():
        pass
    scratch.local_cluster("stop", "--dir", scratch.path("first"))
    scratch.clusters.append(scratch.path("second"))
    scratch.local_cluster("start", "--dir", scratch.path("second"), "--port", port, "--processes", "one")
    shell.stdin.write("get a\n")
    shell.stdin.close()
    said = shell.stdout.read()
    assert shell.wait(20) != 0 and "second" not in said, said
    assert "invalid_cluster_id" in logs(scratch, "second"), said
