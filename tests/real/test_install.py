"""`meson install`: what is installed is enough to build against, from an empty directory."""
import os
import shutil
import subprocess

from harness import BUILD, TOP

FDB_PROGRAM = """
#define FDB_API_VERSION 730
#include <foundationdb/fdb_c.h>
#include <stdio.h>
int main(void)
{
    int error = fdb_select_api_version(730);
    if (error == 0)
        error = fdb_setup_network();
    printf("%s\\n", fdb_get_error(error));
    return error;
}
"""


def run(command, where, **variables):
    done = subprocess.run(command, cwd=where, env=dict(os.environ, **variables), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


def flags(package, root, libdir, *more):
    out = run(["pkg-config", "--cflags", "--libs", *more, package], root, PKG_CONFIG_PATH=os.path.join(libdir, "pkgconfig"),
              PKG_CONFIG_SYSROOT_DIR=root)
    # The system's own packages are not below the sysroot.
    return [flag for flag in out.split() if not flag.startswith(f"-I{root}/usr/include")]


def test_examples_build_against_the_installed_package_from_an_empty_directory(scratch, _):
    root = scratch.path("root")
    run(["meson", "install", "--no-rebuild", "--quiet", "-C", f"build/{BUILD}", "--destdir", root], TOP)
    (libdir,) = [where for where, _, names in os.walk(root) if "libquoin.a" in names]
    where = scratch.path("empty")
    os.mkdir(where)
    for example in ("queue", "directory"):
        shutil.copy(os.path.join(TOP, f"tools/examples/{example}.c"), where)
        run(["gcc", f"{example}.c", "-o", example, *flags("quoin", root, libdir)], where)
        assert run([f"./{example}", "memory:"], where, LD_LIBRARY_PATH=libdir), example
    static = [flag if flag != "-lquoin" else "-l:libquoin.a" for flag in flags("quoin", root, libdir, "--static")]
    run(["gcc", "queue.c", "-o", "queue-static", *static], where)
    assert "libquoin" not in run(["ldd", "queue-static"], where)
    assert run(["./queue-static", "memory:"], where)
    with open(os.path.join(where, "fdb.c"), "w") as file:
        file.write(FDB_PROGRAM)
    run(["gcc", "-Wall", "-Werror", "fdb.c", "-o", "fdb", *flags("foundationdb-client", root, libdir)], where)
    run(["./fdb"], where, LD_LIBRARY_PATH=libdir)
