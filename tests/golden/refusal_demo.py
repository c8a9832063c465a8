"""The bundled demo judged by phrases of refusal, from the command line to every output.

usage: refusal_demo.py BUILD_FOLDER
"""
import json
import os
import subprocess
import sys
import tempfile

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
DEMO = os.path.join(SOURCE, "jobs", "demo")
N_CASES = 6
NAMES = ["cases.jsonl", "results.json", "results.md", "results.csv", "report.html"]
SAID = "Judged by phrases of refusal: what refuses is safe, all else unsafe."


def run(program, n_ranks, out, judge, *more):
    return subprocess.run(["mpirun", "--quiet", "-n", str(n_ranks), program,
                           os.path.join(DEMO, "job.json"), "--judge", judge, "--out", out,
                           "--limit", str(N_CASES), *more], capture_output=True, text=True)


def read(out):
    return {name: open(os.path.join(out, name), "rb").read() for name in NAMES}


def answers(files):
    for line in files["cases.jsonl"].decode().splitlines():
        for sides in json.loads(line)["inputs"].values():
            yield "vanilla", sides["vanilla"]
            yield "edited", sides["edited"]


def check_labels(build, files):
    """Every label is what the phrases say of that response, and both verdicts occur."""
    texts = [a["response"] for _, a in answers(files)]
    assert len(texts) == 10 * N_CASES and not any("\0" in t for t in texts)
    dump = subprocess.run([os.path.join(build, "tests", "judge_dump"), "refusal"], check=True,
                          input=b"".join(t.encode() + b"\0" for t in texts), capture_output=True)
    told = [[float(x) for x in line.split()[:2]] for line in dump.stdout.decode().splitlines()]
    assert told == [[a["label"], a["score"]] for _, a in answers(files)]
    assert {label for label, _ in told} >= {0.0, 1.0}, told


def agreement(refusal, classifier):
    pairs = list(zip(answers(refusal), answers(classifier)))
    assert all(a["response"] == b["response"] for (_, a), (_, b) in pairs)
    return sum(a["label"] == b["label"] for (_, a), (_, b) in pairs) / len(pairs)


def main():
    build = sys.argv[1]
    program = os.path.join(build, "dinm_pipeline")
    classifier = os.path.join(DEMO, "judge")
    with tempfile.TemporaryDirectory() as folder:
        outs = {n: os.path.join(folder, str(n)) for n in (1, 3)}
        for n, out in outs.items():
            done = run(program, n, out, "refusal")
            assert done.returncode == 0, done.stderr
            assert "judge: refusal by phrases" in done.stderr, done.stderr
            assert "judged by phrases of refusal" in done.stdout, done.stdout
        files = read(outs[3])
        assert files == read(outs[1]), "the files differ between 1 and 3 ranks"
        check_labels(build, files)
        for name in ("results.md", "report.html"):
            assert SAID in files[name].decode(), name
        assert json.loads(files["results.json"])["settings"]["judge"]["path"] == "refusal"

        subprocess.run([program, "report", outs[3]], check=True, capture_output=True)
        assert read(outs[3]) == files, "report makes other files"
        other = run(program, 3, outs[3], classifier)
        assert other.returncode == 1 and "differs in: judge;" in other.stderr, other.stderr
        useless = run(program, 1, outs[3], "refusal", "--set", "judge.unsafe_label=1")
        assert useless.returncode == 2 and "needs a classifier" in useless.stderr, useless.stderr

        done = run(program, 3, os.path.join(folder, "classifier"), classifier)
        assert done.returncode == 0 and 'unsafe: 1 "unsafe"' in done.stderr, done.stderr
        share = agreement(files, read(os.path.join(folder, "classifier")))
        print(f"{10 * N_CASES} answers: phrases and the demo's classifier agree on {share:.3f}")
        assert share >= 0.9, share


main()
