"""quoin-bench against real processes: what it counts, what it refuses, and the kills that it times."""
import json
import subprocess

from harness import program


def bench(file, *arguments, timeout=60):
    run = subprocess.run([program("quoin-bench"), "--cluster", file, *arguments, "--json"], stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, timeout=timeout)
    assert run.returncode == 0, f"{arguments}: {run.stdout[-2000:]}{run.stderr[-2000:]}"
    return json.loads(run.stdout.strip().rsplit("\n", 1)[-1])


def test_every_workload_is_measured_and_finds_its_keys(scratch, _):
    file = scratch.start_cluster("--processes", "one")
    for workload in ["put", "get", "mixed", "rmw", "range"] + [f"ycsb-{letter}" for letter in "abcdef"]:
        found = bench(file, "--workload", workload, "--keys", "20000", "--warmup", "0.1", "--seconds", "0.5")
        assert found["ops_per_s"] > 0 and found["errors"] == 0 and found["missing"] == 0, found
        assert found["latency_us"]["transaction"]["count"] == found["transactions"] > 0, found
        per_transaction = {"put": 1, "get": 1, "mixed": 1, "rmw": 10}.get(workload)
        assert per_transaction is None or found["ops"] == per_transaction * found["transactions"], found
        assert found["cpu_us_per_op"]["client"] > 0 and len(found["cpu_us_per_op"]["servers"]) == 1, found
    blocking = bench(file, "--workload", "mixed", "--threads", "4", "--keys", "20000", "--warmup", "0.1", "--seconds", "0.5")
    assert blocking["ops_per_s"] > 0 and blocking["threads"] == 4, blocking
    paced = bench(file, "--workload", "get", "--rate", "500", "--keys", "20000", "--warmup", "0.1", "--seconds", "2")
    assert 400 < paced["ops_per_s"] < 600, paced
    part = bench(file, "--overload", "--rate", "400", "--keys", "20000", "--warmup", "0.1", "--seconds", "1")
    assert part["peak_per_s"] == 400 and [offer["offered_per_s"] for offer in part["offers"]] == [320, 400, 800], part
    assert 250 < part["offers"][0]["done_per_s"] < 390, part
    whole = bench(file, "--overload", "--clients", "16", "--keys", "20000", "--warmup", "0.1", "--seconds", "0.6")
    before, after = whole["peak_before_per_s"], whole["peak_after_per_s"]
    assert min(before, after) > 0 and abs(whole["peak_per_s"] / ((before + after) / 2) - 1) < 0.001, whole
    assert whole["steady"] == (abs(before - after) <= 0.15 * whole["peak_per_s"]) and whole["peak_clients"] >= 16, whole
    assert abs(whole["throughput_kept"] * whole["peak_per_s"] / whole["offers"][2]["done_per_s"] - 1) < 0.001, whole


def test_what_a_client_costs_is_measured_and_its_memory_is_within_bounds(scratch, _):
    file = scratch.start_cluster("--processes", "one")
    found = bench(file, "--measure", "all", "--keys", "20000", "--warmup", "0.1", "--seconds", "0.6", timeout=120)
    for name in ("get_p50", "gets", "keys_scanned_by_one", "transactions_by_waiting_threads", "transactions_by_callbacks"):
        assert found[name]["value"] > 0, (name, found)
    for name in ("database_bytes", "transaction_bytes", "transaction_bytes_after_ten_gets", "watches_client_bytes",
                 "watches_server_bytes"):
        assert found[name]["held"], (name, found[name])
    assert found["watches_client_bytes"]["value"] > 1e7 and found["watches_server_bytes"]["value"] > 1e7, found


def test_recoveries_are_timed(scratch, _):
    file = scratch.start_cluster()
    for role in ("sequencer", "log"):
        found = bench(file, "--kill", role, "--times", "2", "--keys", "20000", "--warmup", "0.5", timeout=150)
        recovery = found["recovery_ms"]
        assert len(found["kills"]) == 2 and 0 < recovery["median"] <= recovery["p90"] <= recovery["max"], found
        assert found["kills"][0]["pid"] != found["kills"][1]["pid"], found
        print(f"      {role}: {recovery['median']:.0f} ms, {recovery['max']:.0f} ms")


def test_the_bench_says_what_is_wrong(scratch, _):
    nobody = scratch.write("nobody.cluster", "a:b@127.0.0.1:1\n")
    good = ["--cluster", nobody, "--workload", "put"]
    for arguments, word in ((["--workload", "put"], "--cluster"), (["--cluster", nobody], "--workload"),
                            (["--cluster", nobody, "--workload", "sit"], "sit"), (good + ["--clients", "0"], "--clients"),
                            (good + ["--distribution", "zipf:2"], "zipf"), (good + ["--threads", "2", "--depth", "2"], "--depth"),
                            (good + ["--times", "2"], "--kill"), (good + ["--measure", "all"], "--workload"),
                            (["--cluster", nobody, "--measure", "speed"], "speed"), (good + ["--frob"], "frob"), (good, "127.0.0.1:1")):
        run = subprocess.run([program("quoin-bench"), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                             timeout=20)
        assert run.returncode != 0 and word in run.stderr and not run.stdout, (arguments, run)
