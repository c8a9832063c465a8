"""A disk that is full at every stage of a run: while the journal, the archive, saved edits and the
final files are written. Every run ends with one sentence that names a file and the reason, and
leaves nothing wrong under a final name; once there is room the same command goes on and ends with
the files of a run that nobody disturbed. The disk is a small tmpfs of a mount namespace of its own:
needs root (exit 77 without).

usage: full_disk.py BUILD_FOLDER [--steps N]       N sizes for one rank, half as many for two
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

import runs

PRIVATE = "DINM_TEST_PRIVATE_MOUNTS"
WORDS = ["--set", "edit.save=true", "--set", "archive.hidden=full"]
REASON = "No space left on device"
PAGE = 4096


def enter_namespace():
    """Starts this program again where its mounts are its own, and end with it."""
    if PRIVATE in os.environ:
        return
    for needed in ("unshare", "mount"):
        if not shutil.which(needed):
            print(f"skipped: {needed} is missing (Debian: apt-get install util-linux mount)")
            sys.exit(runs.SKIPPED)
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True)
    if os.geteuid() != 0 or probe.returncode != 0:
        print(f"skipped: a tmpfs can only be mounted by root ({probe.stderr.strip()})")
        sys.exit(runs.SKIPPED)
    os.environ[PRIVATE] = "1"
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable,
                          os.path.abspath(sys.argv[0]), *sys.argv[1:]])


def mount(*options):
    done = subprocess.run(["mount", "-t", "tmpfs", *options], capture_output=True, text=True)
    if done.returncode != 0:
        print(f"skipped: {done.stderr.strip()}")
        sys.exit(runs.SKIPPED)


def n_bytes(folder):
    """What the files below take on a tmpfs, in whole pages."""
    return sum(-(-os.path.getsize(os.path.join(path, name)) // PAGE) * PAGE
               for path, _, names in os.walk(folder) for name in names)


def check_final(out, reference, what):
    """What has a final name is whole."""
    for name in runs.FILES:
        path = os.path.join(out, name)
        assert not os.path.exists(path) or runs.read(path) == runs.read(os.path.join(reference, name)), \
            f"{what}: {name} is there, but is not what it should be"
    edits = os.path.join(out, "edits")
    for name in os.listdir(edits) if os.path.isdir(edits) else []:
        if name.endswith(".safetensors"):
            assert runs.read(os.path.join(edits, name)) == \
                runs.read(os.path.join(reference, "edits", name)), f"{what}: {name} is not whole"
    if os.path.exists(os.path.join(out, "activations.h5")) and shutil.which("h5dump"):
        done = subprocess.run(["h5dump", "-H", os.path.join(out, "activations.h5")],
                              capture_output=True, text=True)
        assert done.returncode == 0, f"{what}: activations.h5 does not open: {done.stderr}"


def strike(program, disk, reference, size, ranks):
    """A run on a disk of that size; whether it was too small, and what it said."""
    out, what = os.path.join(disk, "out"), f"{ranks} ranks, {size} bytes"
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)
    status, said = program.run(out, *WORDS, ranks=ranks)
    if status != 0:
        line = runs.one_sentence(what, status, said, disk, REASON)
        check_final(out, reference, what)
    else:
        line = None
    subprocess.run(["mount", "-o", f"remount,size={64 << 20}", disk], check=True)
    program.finish(out, *WORDS, ranks=ranks, what=f"resuming after {what}")
    runs.same_files(reference, out, what)
    for name in os.listdir(os.path.join(reference, "edits")):
        assert runs.read(os.path.join(out, "edits", name)) == \
            runs.read(os.path.join(reference, "edits", name)), f"{what}: {name} differs"
    shutil.rmtree(out)
    return line


def sweep(program, disk, reference, ranks, n_steps):
    whole, n_full, n_kinds = n_bytes(reference) + 8 * PAGE, 0, set()
    for step in range(n_steps):
        size = (PAGE + (whole - PAGE) * step // n_steps) // PAGE * PAGE
        line = strike(program, disk, reference, size, ranks)
        if line is not None:
            n_full += 1
            file = line.split("/out/")[-1].split(":")[0]
            n_kinds.add(re.sub(r"\.\d+-\d+\.tmp", "", file))
    assert strike(program, disk, reference, 2 * whole, ranks) is None, "enough is not enough"
    assert n_full > n_steps // 2, f"only {n_full} of {n_steps} disks were too small"
    print(f"{ranks} ranks: {n_full} of {n_steps} disks up to {whole} bytes were too small; named were "
          f"{', '.join(sorted(n_kinds))}; all were resumed", flush=True)


def test():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    program = runs.Program(options.build)
    with tempfile.TemporaryDirectory() as folder:
        disk, reference = os.path.join(folder, "disk"), os.path.join(folder, "reference")
        os.mkdir(disk)
        mount("-o", "size=64k", "tmpfs", disk)
        try:
            program.finish(reference, *WORDS)
            sweep(program, disk, reference, 1, options.steps)
            sweep(program, disk, reference, 2, options.steps // 2)
        finally:
            subprocess.run(["umount", "-l", disk], check=False)


if __name__ == "__main__":
    enter_namespace()
    runs.main(test)
