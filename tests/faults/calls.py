"""Lets the n-th write, sync, open, rename, ftruncate, mmap or malloc of a run fail, one n after the
other, until a run passes: every failure ends with one sentence and a non-zero exit status, and the
next run resumes and leaves the bytes of a run that nobody disturbed.

usage: calls.py BUILD_FOLDER [--all]
       --all: every n; otherwise the first ones and then ever fewer
"""
import argparse
import errno
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(HERE, "..", "..")
FILES = ["cases.jsonl", "results.json", "results.md", "results.csv", "report.html"]
FAILURES = [("write", errno.ENOSPC), ("write", errno.EIO), ("sync", errno.EIO),
            ("open", errno.EACCES), ("rename", errno.EIO), ("ftruncate", errno.ENOSPC),
            ("mmap", errno.ENOMEM), ("malloc", errno.ENOMEM)]
# Short, interrupted: the run must not notice, but where Open MPI writes the archive: that does not go
# on after either, so that such a run ends as on a full disk, and is resumed.
HARMLESS = [("write", 0), ("write", errno.EINTR)]


def run(program, out, **fault):
    environment = dict(os.environ)
    if fault:
        environment |= {"LD_PRELOAD": fault["shim"], "FAULT_CALL": fault["call"],
                        "FAULT_NTH": str(fault["n"]), "FAULT_ERROR": str(fault["code"]),
                        "FAULT_UNDER": fault["under"], "FAULT_COUNT": fault["count"]}
    command = [program, "--quiet", "--limit", "2", "--batch", "2", "--set", "run.threads=1",
               "--set", "evaluate.kqa_on=none", "--set", "generate.max_new_tokens=8",
               "--set", "edit.steps=2", "--set", "edit.save=true", "--out", out]
    return subprocess.run(command, env=environment, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, timeout=120)


def compare(reference, out, what):
    for name in FILES:
        a, b = (open(os.path.join(folder, name), "rb").read() for folder in (reference, out))
        assert a == b, f"{what}: {name} differs"
    if shutil.which("h5diff"):
        subprocess.run(["h5diff", *(os.path.join(folder, "activations.h5")
                                    for folder in (reference, out))], check=True)


def sentences(stderr):
    return [line for line in stderr.decode(errors="replace").splitlines()
            if line.startswith("dinm_pipeline: ")]


def numbers(every):
    n = 1
    while True:
        yield n
        n = n + 1 if every or n < 8 else n + n // 3


def strike(program, folder, reference, call, code, options):
    out, count = os.path.join(folder, "out"), os.path.join(folder, "count")
    fault = dict(shim=os.path.join(options.build, "tests", "libfault_shim.so"), call=call, code=code,
                 under=SOURCE_MODEL if call == "mmap" else out, count=count)
    n_struck = n_ignored = 0
    for n in numbers(options.all):
        what = f"{call} {n} failing with {errno.errorcode.get(code, 'a short write')}"
        shutil.rmtree(out, ignore_errors=True)
        if os.path.exists(count):
            os.remove(count)
        result = run(program, out, n=n, **fault)
        # A run that ended at once, because HDF5 could not be shut down, leaves no count.
        n_calls = int(open(count).read()) if os.path.exists(count) else n
        assert result.returncode >= 0, f"{what}: killed by signal {-result.returncode}"
        if n_calls < n:
            assert result.returncode == 0, f"{what}: {result.stderr.decode()}"
            break
        if result.returncode != 0:
            said = sentences(result.stderr)
            assert result.returncode == 1 and len(said) >= 1, (what, result.returncode,
                                                               result.stderr.decode())
            n_struck += 1
        else:
            n_ignored += 1  # such as a beat of the watchdog, or a lock file's signature
        if (call, code) in HARMLESS:
            assert result.returncode == 0 or "activations.h5" in said[0], \
                f"{what} was noticed: {result.stderr.decode()}"
        if (call, code) not in HARMLESS or result.returncode != 0:
            result = run(program, out)
            assert result.returncode == 0, f"resuming after {what}: {result.stderr.decode()}"
        compare(reference, out, what)
    print(f"{call} failing with {errno.errorcode.get(code, 'a short write')}: {n_struck} runs ended "
          f"with a sentence and were resumed, {n_ignored} went on; {n_calls} calls in a run",
          flush=True)


SOURCE_MODEL = os.path.realpath(os.path.join(SOURCE, "jobs", "demo"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    program = os.path.join(options.build, "dinm_pipeline")
    os.chdir(SOURCE)
    with tempfile.TemporaryDirectory() as folder:
        folder = os.path.realpath(folder)
        reference = os.path.join(folder, "reference")
        result = run(program, reference)
        assert result.returncode == 0, result.stderr.decode()
        for call, code in HARMLESS + FAILURES:
            try:
                strike(program, folder, reference, call, code, options)
            except AssertionError as error:
                print(f"FAILED: {error}")
                sys.exit(1)


main()
