"""libfdb_c.so: its names, its headers, and its contract at many API versions."""
import json
import os
import re
import subprocess
import sys

from harness import BUILD, TOP

LIBRARIES = os.path.join(TOP, "build", BUILD, "roles/embedded")
HEADERS = os.path.join(TOP, "txn/fdb_c/include")
VERSIONS = (13, 22, 23, 300, 410, 500, 510, 520, 600, 610, 620, 630, 700, 710, 720, 730, 800)


def exported(library):
    run = subprocess.run(["nm", "-D", "--defined-only", os.path.join(LIBRARIES, library)], capture_output=True, text=True, check=True)
    return {line.split()[-1] for line in run.stdout.splitlines()}


def declared_functions():
    """The functions of fdb_c.h, whatever the version."""
    with open(os.path.join(HEADERS, "foundationdb/fdb_c.h")) as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    text = re.sub(r"^\s*#\s*define[^\n]*(\\\n[^\n]*)*", "", text, flags=re.M)
    return set(re.findall(r"\b(fdb_\w+)\(", text))


def test_libfdb_c_exports_the_functions_of_its_header_and_nothing_else(_scratch, _long):
    assert len(declared_functions()) == 119, len(declared_functions())
    assert exported("libfdb_c.so") == declared_functions(), exported("libfdb_c.so") ^ declared_functions()


def test_libquoin_exports_its_own_names_alone(_scratch, _long):
    names = exported("libquoin.so")
    assert "quoin_open" in names and len(names) > 100, sorted(names)
    assert all(name.startswith("quoin_") for name in names), sorted(name for name in names if not name.startswith("quoin_"))


def test_the_shared_libraries_carry_no_jemalloc_and_stay_loaded(_scratch, _long):
    for library in ("libquoin.so", "libfdb_c.so"):
        run = subprocess.run(["readelf", "-d", os.path.join(LIBRARIES, library)], capture_output=True, text=True, check=True)
        assert "jemalloc" not in run.stdout and "NODELETE" in run.stdout, run.stdout


def test_fdb_c_h_compiles_for_every_version_as_c_and_as_cpp(scratch, _long):
    source = scratch.write("use.c", "#include <foundationdb/fdb_c.h>\n#include <foundationdb/fdb_c.h>\n"
                           "int use(void);\nint use(void) { return fdb_select_api_version(FDB_API_VERSION) + FDB_TR_OPTION_TIMEOUT; }\n")
    for version in VERSIONS + (14, 200):
        for language in ("c", "c++"):
            run = subprocess.run(["clang", "-x", language, "-fsyntax-only", "-Wall", "-Wextra", "-Werror", f"-DFDB_API_VERSION={version}",
                                  "-I", HEADERS, source], capture_output=True, text=True)
            assert run.returncode == 0, f"{version} {language}:\n{run.stderr}"
    for version in (510, 710):
        run = subprocess.run(["gcc", "-std=c90", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-DFDB_API_VERSION={version}",
                              "-I", HEADERS, source], capture_output=True, text=True)
        assert run.returncode == 0, f"C90, {version}:\n{run.stderr}"
    hidden = scratch.write("hidden.cpp", "#include <stdint.h>\n#include <fdb_c_options.g.h>\nnamespace hidden {\n#include <foundationdb/fdb_c.h>\n}\n"
                           "int use() { return hidden::fdb_select_api_version(720) + (int)FDB_TR_OPTION_TIMEOUT; }\n")
    run = subprocess.run(["clang", "-x", "c++", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-DFDB_API_VERSION=720", "-I", HEADERS,
                          "-I", os.path.join(HEADERS, "foundationdb"), hidden], capture_output=True, text=True)
    assert run.returncode == 0, f"in a namespace:\n{run.stderr}"
    for wrong in ("", "-DFDB_API_VERSION=12", "-DFDB_API_VERSION=801"):
        run = subprocess.run(["clang", "-fsyntax-only", *wrong.split(), "-I", HEADERS, source], capture_output=True, text=True)
        assert run.returncode != 0 and "API" in run.stderr, (wrong, run.stderr)


def test_every_wrong_call_gives_foundationdbs_code_at_every_version(_scratch, _long):
    tester = os.path.join(TOP, "build", BUILD, "tests/real/quoin-fdb-contract")
    for version in VERSIONS:
        run = subprocess.run([tester, os.path.join(LIBRARIES, "libfdb_c.so"), str(version), "memory:"], stdin=subprocess.DEVNULL,
                             capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, f"version {version}, exit {run.returncode}:\n{run.stdout[-3000:]}{run.stderr[-2000:]}"


def test_what_foundationdbs_own_c_programs_do_works(scratch, _long):
    tester = os.path.join(TOP, "build", BUILD, "tests/real/quoin-fdb-calls")
    for cluster in ("memory:", scratch.start_cluster("--processes", "one")):
        run = subprocess.run([tester, cluster, "1"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, f"{cluster}: exit {run.returncode}:\n{run.stdout[-3000:]}{run.stderr[-2000:]}"
    for name in ("fdb_calls", "fdb_units"):
        with open(os.path.join(TOP, f"tests/real/{name}.c")) as file:
            as_cpp = scratch.write(name + ".cpp", file.read())
        run = subprocess.run(["clang", "-x", "c++", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I", HEADERS, as_cpp], capture_output=True,
                             text=True)
        assert run.returncode == 0, run.stderr


def test_what_foundationdbs_unit_tests_expect_holds(scratch, _long):
    tester = os.path.join(TOP, "build", BUILD, "tests/real/quoin-fdb-units")
    for command in ([tester, "memory:"], [tester, scratch.start_cluster("--processes", "one"), "one"]):
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)
        assert run.returncode == 0, f"{command}: exit {run.returncode}:\n{run.stdout[-3000:]}{run.stderr[-2000:]}"


SETUP = """import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
library.fdb_select_api_version_impl(720, 720)
print(library.fdb_setup_network())"""


def run_with_options(command, **options):
    env = dict(os.environ, **{f"FDB_NETWORK_OPTION_{name}": value for name, value in options.items()})
    return subprocess.run(command, stdin=subprocess.DEVNULL, env=env, capture_output=True, text=True, timeout=60)


def test_the_network_traces_as_its_options_say(scratch, _long):
    directory = scratch.path("traces")
    os.mkdir(directory)
    tester = [os.path.join(TOP, "build", BUILD, "tests/real/quoin-fdb-contract"), os.path.join(LIBRARIES, "libfdb_c.so"), "720", "memory:"]
    run = run_with_options(tester, TRACE_ENABLE=directory, TRACE_LOG_GROUP="group 7", TRACE_FORMAT="json", TRACE_ROLL_SIZE="400",
                           TRACE_MAX_LOGS_SIZE="800", KNOB="rpc_ping_interval_us=500000:a_knob_of_foundationdb=7")
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    files = sorted(os.listdir(directory), key=lambda name: int(name.split(".")[3]))
    assert 1 <= len(files) <= 2, files
    lines = []
    for name in files:
        with open(os.path.join(directory, name)) as file:
            lines += [json.loads(line) for line in file]
    assert lines and all(line["LogGroup"] == "group 7" and "Type" in line for line in lines), lines
    for wrong in ({"TRACE_FORMAT": "yaml"}, {"KNOB": "rpc_ping_interval_us"}, {"KNOB": "rpc_ping_interval_us=soon"},
                  {"TRACE_LOG_GROUP": '"'}, {"TRACE_CLOCK_SOURCE": "sundial"}, {"TRACE_ROLL_SIZE": "-1"}):
        run = run_with_options([sys.executable, "-c", SETUP, tester[1]], **wrong)
        assert run.stdout.strip() == "2022", (wrong, run)


def test_the_readme_names_every_option_without_effect(_scratch, _long):
    """A transaction option that the client's table gives no effect, or one that the table has and the README calls idle."""
    with open(os.path.join(HEADERS, "foundationdb/fdb_c_options.g.h")) as file:
        table = file.read().split("#define FDB_TRANSACTION_OPTION_TABLE")[1].split("#define")[0]
    names = {int(code): name for name, code in re.findall(r"X\(\w+, (\w+), (\d+),", table)}
    with open(os.path.join(TOP, "txn/client/transaction_options.c")) as file:
        source = file.read()
    idle = {int(code) for code in re.findall(r"^    FLAG\((\d+)\)", source, re.M)}
    idle |= {int(code) for code in re.findall(r"^    TEXT\((\d+),[^)]*NULL\)", source, re.M)}
    idle |= {int(code) for code in re.findall(r"^    NUMBER\((\d+), 0,", source, re.M)}
    with open(os.path.join(TOP, "txn/fdb_c/README.md")) as file:
        readme = file.read().split("## Options without effect")[1].split("| database options")[0]
    missing = sorted(names[code] for code in idle if not re.search(rf"\b{names[code]}\b", readme))
    assert len(idle) > 20 and not missing, missing


# As many as FoundationDB has, old and hidden ones with them.
OPTIONS = {"NETWORK": 51, "DATABASE": 18, "TRANSACTION": 58}


def options_of(scope):
    """{code: (name, parameter)} of one table of the header."""
    with open(os.path.join(HEADERS, "foundationdb/fdb_c_options.g.h")) as file:
        table = file.read().split(f"#define FDB_{scope}_OPTION_TABLE")[1].split("#define")[0]
    return [(name, int(code), parameter) for name, code, parameter in re.findall(r"X\(\w+, (\w+), (\d+), (\w+),", table)]


def test_every_option_is_taken_and_those_without_effect_are_listed(_scratch, _long):
    """Each option of the header is set with a parameter of its form: 0, or 2006 where the value is one of few; never 2007."""
    script = SETUP.split("print")[0] + """
import threading
db, tr = ctypes.c_void_p(), ctypes.c_void_p()
def value_of(parameter):
    return (b"\\1" + bytes(7), 8) if parameter == "INT" else (None, 0) if parameter == "NONE" else (b"a", 1)
options = eval(sys.argv[2])
for name, code, parameter in options["NETWORK"]:
    print("NETWORK", name, library.fdb_network_set_option(code, *value_of(parameter)))
library.fdb_setup_network()
threading.Thread(target=library.fdb_run_network, daemon=True).start()
assert library.fdb_create_database(b"memory:", ctypes.byref(db)) == 0
for name, code, parameter in options["DATABASE"]:
    print("DATABASE", name, library.fdb_database_set_option(db, code, *value_of(parameter)))
for name, code, parameter in options["TRANSACTION"]:
    library.fdb_database_create_transaction(db, ctypes.byref(tr))
    print("TRANSACTION", name, library.fdb_transaction_set_option(tr, code, *value_of(parameter)))
    library.fdb_transaction_destroy(tr)
"""
    options = {scope: options_of(scope) for scope in OPTIONS}
    assert {scope: len(options[scope]) for scope in OPTIONS} == OPTIONS
    run = subprocess.run([sys.executable, "-c", script, os.path.join(LIBRARIES, "libfdb_c.so"), repr(options)], stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, timeout=60)
    said = [line.split() for line in run.stdout.splitlines()]
    assert len(said) == sum(OPTIONS.values()), run.stdout[-500:] + run.stderr[-2000:]
    refused = {f"{scope} {name}": code for scope, name, code in said if code != "0"}
    assert set(refused.values()) <= {"2006", "2000"}, refused
    assert len(refused) < 8, refused


def test_the_readme_names_every_network_option(_scratch, _long):
    with open(os.path.join(TOP, "txn/fdb_c/README.md")) as file:
        readme = file.read()
    families = tuple(re.findall(r"\b(\w+_)\*", readme))
    missing = [name for name, _code, _parameter in options_of("NETWORK")
               if not re.search(rf"\b{name}\b", readme) and not name.startswith(families)]
    assert not missing, missing
