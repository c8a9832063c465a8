"""Damages the archive of a half-done or finished job in many ways: cut, flipped bits in the
superblock, in headers and in values, other files in its place, none, a damaged seal. The program
never crashes, hangs or keeps wrong values: it says what it found, makes good, and ends with the
files of a run that nobody disturbed.

usage: archive.py BUILD_FOLDER [--all]       --all: many more places
"""
import argparse
import concurrent.futures
import json
import os
import random
import shutil
import subprocess
import tempfile

import runs

ARCHIVE, SEAL = "activations.h5", os.path.join("journal", "archive.json")


class Damage:
    """What is done to a copy of an output folder, and the words that the next run must say."""

    def __init__(self, what, do, says=(ARCHIVE,), first=()):
        self.what, self.do, self.says, self.first = what, do, says, first


def change(name, how):
    """how: bytes before -> bytes after"""
    def do(out):
        path = os.path.join(out, name)
        data = runs.read(path)
        with open(path, "wb") as f:
            f.write(how(data))
    return do


def flip(name, at):
    return change(name, lambda data: data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1:])


def remove(name):
    return lambda out: os.remove(os.path.join(out, name))


def instead(make):
    def do(out):
        os.remove(os.path.join(out, ARCHIVE))
        make(os.path.join(out, ARCHIVE))
    return do


def is_value(at, extents):
    return any(begin <= at < end for begin, end in extents)


def damages(base, other, every, chance):
    """All ways, for an archive and its seal in the folder `base`."""
    size = os.path.getsize(os.path.join(base, ARCHIVE))
    extents = json.loads(runs.read(os.path.join(base, SEAL)))["values"]
    n = 40 if every else 6
    for length in sorted({0, 1, 7, 8, 95, 96, size - 1, *(size * i // n for i in range(1, n))}):
        yield Damage(f"cut to {length} bytes", change(ARCHIVE, lambda d, k=length: d[:k]))
    yield Damage("longer", change(ARCHIVE, lambda d: d + b"x"))
    for at in range(0, 96, 1 if every else 17):
        yield Damage(f"superblock, byte {at}", flip(ARCHIVE, at))
    headers = [at for at in range(96, size) if not is_value(at, extents)]
    for at in chance.sample(headers, 300 if every else 10):
        yield Damage(f"structure, byte {at}", flip(ARCHIVE, at))
    begin, end = max(extents, key=lambda e: e[1] - e[0])  # of the hidden states
    for at in chance.sample(range(begin, end), 100 if every else 5):
        yield Damage(f"hidden states, byte {at}", flip(ARCHIVE, at),
                     (ARCHIVE, "the hidden states of 1 cases"))
    for begin, end in extents:
        if end - begin < 4096:  # distances, layers, losses: the journal has them
            for at in chance.sample(range(begin, end), 20 if every else 3):
                yield Damage(f"results, byte {at}", flip(ARCHIVE, at), ())
    yield Damage("removed", remove(ARCHIVE))
    yield Damage("another job's", instead(lambda p: shutil.copy(os.path.join(other, ARCHIVE), p)))
    yield Damage("a text file", change(ARCHIVE, lambda d: b"not an archive\n"))
    yield Damage("noise", change(ARCHIVE, lambda d: chance.randbytes(len(d))))
    yield Damage("noise behind its head", change(ARCHIVE, lambda d: d[:96] +
                                                 chance.randbytes(len(d) - 96)))
    yield Damage("a pipe", instead(os.mkfifo))
    yield Damage("a dangling link", instead(lambda p: os.symlink("nowhere", p)))
    yield Damage("no seal", remove(SEAL), (SEAL,))
    yield Damage("half a seal", change(SEAL, lambda d: d[:len(d) // 2]), (SEAL,))
    yield Damage("a seal of other parts", change(SEAL, lambda d: d.replace(b"[[", b"[[1, 5], [")),
                 (ARCHIVE,))
    yield Damage("made anew, but not filled", remove(ARCHIVE), (ARCHIVE, "the hidden states of"),
                 ("--phases", "vanilla,edit"))


def strike(program, folder, base, reference, damage, n):
    out, ranks = os.path.join(folder, f"out-{n}"), 2 if n % 10 == 9 else 1
    shutil.copytree(base, out)
    damage.do(out)
    if damage.first:
        program.finish(out, *damage.first, ranks=ranks, what=damage.what)
    said = program.finish(out, ranks=ranks, what=damage.what, limit_s=60)
    for word in damage.says:
        assert word in said, f"{damage.what}: '{word}' was not said: {said}"
    assert damage.says or not said, f"{damage.what}: nothing to be said, but: {said}"
    runs.same_files(reference, out, damage.what)
    if n % 3 == 0:
        said = program.finish(out, what=f"again after {damage.what}")
        assert said == "", f"{damage.what}: a second run still says: {said}"
    shutil.rmtree(out)


def look_at_damaged(program, folder, base, at, chance):
    """inspect has no seal to go by, and HDF5 crashes on some of these."""
    path = os.path.join(folder, f"damaged-{at}.h5")
    data = bytearray(runs.read(os.path.join(base, ARCHIVE)))
    data[at] ^= chance
    with open(path, "wb") as f:
        f.write(data)
    done = subprocess.run([program.path, "inspect", path], capture_output=True, text=True,
                          errors="replace", timeout=100)
    if done.returncode != 0:
        runs.one_sentence(f"inspect, byte {at}", done.returncode, done.stderr, path)
    return done.returncode != 0 and "damaged: HDF5 crashes" in done.stderr


def folder_in_its_place(program, folder, base, reference):
    """A folder is nobody's archive: it is not removed, the run is refused, and goes on without."""
    out = os.path.join(folder, "out")
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(base, out)
    instead(os.mkdir)(out)
    status, said = program.run(out)
    assert status == 1 and len(runs.sentences(said)) == 1 and ARCHIVE in said, said
    os.rmdir(os.path.join(out, ARCHIVE))
    program.finish(out)
    runs.same_files(reference, out, "a folder in its place")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    program, chance = runs.Program(options.build), random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        reference, half, other = (os.path.join(folder, name) for name in ("whole", "half", "other"))
        program.finish(reference)
        program.finish(half, "--phases", "locate,vanilla")
        program.finish(other, "--set", "archive.hidden=mean")
        with concurrent.futures.ThreadPoolExecutor(4) as pool:  # starting MPI is mostly waiting
            strikes = []
            for base in (half, reference):
                for i, damage in enumerate(damages(base, other, options.all, chance)):
                    if base == half or options.all or i % 2:
                        strikes.append(pool.submit(strike, program, folder, base, reference, damage,
                                                   len(strikes)))
            places = chance.sample(range(96, os.path.getsize(os.path.join(half, ARCHIVE)) // 3),
                                   1000 if options.all else 100)
            looks = [pool.submit(look_at_damaged, program, folder, half, at, chance.randrange(1, 256))
                     for at in places]
            try:
                for done in strikes + looks:
                    done.result()
            except AssertionError:
                pool.shutdown(cancel_futures=True)
                raise
        for base in (half, reference):
            folder_in_its_place(program, folder, base, reference)
        print(f"{len(strikes)} damaged archives: each was noticed and made good, and the files are the same; "
              f"inspect looked at {len(looks)} more, on {sum(done.result() for done in looks)} of which "
              "HDF5 crashes")


runs.main(main)
