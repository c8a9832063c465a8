"""What the fault tests have in common: short runs of the bundled demo, and their comparison with a
run that nobody disturbed."""
import os
import shutil
import signal
import subprocess
import time

SOURCE = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
DEMO = os.path.join(SOURCE, "jobs", "demo")
FILES = ["cases.jsonl", "results.json", "results.md", "results.csv", "report.html"]
# A short job: two cases, short answers.
SHORT = ["--quiet", "--limit", "2", "--batch", "2", "--set", "run.threads=1",
         "--set", "evaluate.kqa_on=none", "--set", "generate.max_new_tokens=8",
         "--set", "edit.steps=2"]
SKIPPED = 77
STOPPED = 75


class Program:
    """dinm_pipeline of a build folder."""

    def __init__(self, build):
        self.path = os.path.join(os.path.abspath(build), "dinm_pipeline")
        os.chdir(SOURCE)  # where the program finds its demo

    def command(self, out, *words, ranks=1, settings=SHORT):
        launcher = ["mpirun", "--quiet", "-n", str(ranks)] if ranks > 1 else []
        return [*launcher, self.path, *settings, *words, "--out", out]

    def start(self, out, *words, **how):
        environment = how.pop("environment", None)
        return subprocess.Popen(self.command(out, *words, **how), stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True, errors="replace",
                                env=environment)

    def run(self, out, *words, **how):
        """Exit status and what the program said on stderr."""
        limit_s = how.pop("limit_s", 120)
        run = self.start(out, *words, **how)
        try:
            said = run.communicate(timeout=limit_s)[1]
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGABRT)
            run.communicate()
            raise AssertionError(f"{' '.join(words)} hangs") from None
        return run.returncode, said

    def finish(self, out, *words, what="the run", **how):
        status, said = self.run(out, *words, **how)
        assert status == 0, f"{what} ends with {status}: {said}"
        return said

    def processes(self, out):
        """Ids of the processes of the program that work on this folder."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = read(f"/proc/{name}/cmdline").split(b"\0")
            except OSError:
                continue
            if words[0] == os.fsencode(self.path) and os.fsencode(out) in words:
                found.append(int(name))
        return found

    def send(self, out, number):
        """The signal to all of them."""
        for pid in self.processes(out):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass


def sentences(said):
    """The lines by which the program says why it ends."""
    return [line for line in said.splitlines() if line.startswith("dinm_pipeline: ")]


def one_sentence(what, status, said, *parts, wanted=1):
    """The run has failed with one sentence, which holds all these parts."""
    assert status == wanted, f"{what}: ends with {status}, expected {wanted}: {said}"
    lines = sentences(said)
    assert len(lines) == 1, f"{what}: {len(lines)} sentences: {said}"
    for part in parts:
        assert part in lines[0], f"{what}: '{part}' is not in: {lines[0]}"
    return lines[0]


def read(path):
    with open(path, "rb") as f:
        return f.read()


def same_archive(reference, out, what):
    if shutil.which("h5diff"):
        done = subprocess.run(["h5diff", os.path.join(reference, "activations.h5"),
                               os.path.join(out, "activations.h5")], capture_output=True, text=True)
        assert done.returncode == 0, f"{what}: activations.h5 differs: {done.stdout}{done.stderr}"


def left_behind(out):
    """Temporary files anywhere below OUT."""
    return [os.path.join(folder, name) for folder, _, names in os.walk(out) for name in names
            if name.startswith(".") or ".tmp" in name or name.endswith(".new")]


def same_files(reference, out, what):
    """The final files are those of the undisturbed run, byte by byte, and nothing else is there."""
    for name in FILES:
        assert read(os.path.join(reference, name)) == read(os.path.join(out, name)), \
            f"{what}: {name} differs"
    same_archive(reference, out, what)
    assert not left_behind(out), f"{what}: left behind: {left_behind(out)}"


def wait_for(condition, what, limit_s=60.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.002)


def main(test):
    """Runs test(); its verdict becomes the exit status."""
    try:
        test()
    except AssertionError as error:
        print(f"FAILED: {error}", flush=True)
        raise SystemExit(1) from None
