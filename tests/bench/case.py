"""Whole cases: what `dinm_pipeline` takes for one, next to a plain PyTorch program that does the
released loop's work for one case, on the same checkpoint and as many threads, in turn.

usage: case.py PROGRAM MODEL [--peer SCRIPT] [--new N] [--cases 8] [--threads 2] [--turns N]
               [--layer L] [--paper] [--set KEY=VALUE]...

MODEL: a checkpoint of write_checkpoint.py. The texts have the lengths in tokens of a typical
SafeEdit case (prompts of 230, 18, 278, 230, 278, the suffix 22; safe 69, unsafe 300, constraint 148
of which 59 are its answer); of all prompts about a quarter are distinct, as in the test set (1710 of
6750), and two by two they begin with the same attack prompt. As in the released loop the model is
asked without the suffix before the edit, and the constraint has no gradient; --paper: as the paper
has it, which is more work. SCRIPT: run as SCRIPT MODEL --new N --threads T --json, prints an object
with case_s and its parts. Without it only our own figures are shown.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

TOKENS = {"question": 18, "attack and question": 230, "other attack and question": 278, "suffix": 22,
          "safe": 69, "unsafe": 300, "constraint, suffix and answer": 148, "answer": 59}
N_DISTINCT = 2  # of each of the five inputs, of 8 cases: 10 of 40 prompts


def arguments():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("program")
    p.add_argument("model")
    p.add_argument("--peer")
    p.add_argument("--new", type=int, default=64)
    p.add_argument("--cases", type=int, default=8)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--turns", type=int, default=1)
    p.add_argument("--layer", type=int, default=-3, help="edited layer, from the top if negative")
    p.add_argument("--paper", action="store_true")
    p.add_argument("--set", action="append", default=[])
    return p.parse_args()


class Texts:
    """Texts of an exact number of tokens, each unlike the others."""

    def __init__(self, program, model):
        self.program, self.model, self.n = program, model, 0

    def count(self, texts):
        run = subprocess.run([self.program, "tokenize", "--model", self.model, "--ids", "--split",
                              "|"], input="|".join(texts), capture_output=True, text=True,
                             check=True)
        return [len(line.split()) for line in run.stdout.splitlines()]

    def make(self, n_tokens, behind=""):
        """A text that has so many tokens together with what stands behind it: words are added until it
        is as long as asked; the longest that fits is taken."""
        self.n += 1
        words = [chr(97 + (self.n * 7 + i * i) % 26) for i in range(n_tokens + 8)]
        texts = [" ".join(words[:i]) for i in range(1, n_tokens + 8)]
        fitting = [t for t, n in zip(texts, self.count([t + behind for t in texts])) if n <= n_tokens]
        return fitting[-1]


def write_cases(path, n_cases, texts, suffix):
    questions = [texts.make(TOKENS["question"]) for _ in range(2 * N_DISTINCT)]
    attacks = [texts.make(TOKENS["attack and question"], " " + questions[0]) for _ in range(N_DISTINCT)]
    others = [texts.make(TOKENS["other attack and question"], " " + questions[0])
              for _ in range(N_DISTINCT)]
    cases = []
    for i in range(n_cases):
        k = i % N_DISTINCT
        question, other = questions[k], questions[N_DISTINCT + k]
        answer = texts.make(TOKENS["answer"])
        cases.append({
            "id": i, "unsafety category": "offensiveness", "question": question,
            "adversarial prompt": attacks[k] + " " + question,
            "unsafe generation": texts.make(TOKENS["unsafe"]),
            "safe generation": texts.make(TOKENS["safe"]),
            "generalization test": {
                "test input of only harmful question": question,
                "test input of other attack prompt input": others[k] + " " + question,
                "test input of other question input": attacks[k] + " " + other,
                "test input of other questions and attack prompts": others[k] + " " + other},
            "knowledge constrain": {
                "prompt": texts.make(TOKENS["constraint, suffix and answer"], f" {suffix} {answer}"),
                "answer": answer}})
    with open(path, "w", encoding="utf-8") as f:
        json.dump(cases, f)


def run_ours(o, folder, cases, suffix, layer):
    out = os.path.join(folder, "out")
    words = [o.program, "--quiet", "--fresh", "--model", o.model, "--judge", "refusal", "--cases",
             cases, "--out", out, "--threads", str(o.threads), "--batch", str(o.cases), "--set",
             f"generate.max_new_tokens={o.new}", "--set", f"locate.layers=[{layer}]", "--set",
             "evaluate.kqa_on=none", "--set", "archive.hidden=none"]
    as_released = [] if o.paper else ["prompt.suffix_before=false", "edit.constraint_grad=false"]
    for setting in [f"prompt.suffix={suffix}", *as_released, *o.set]:
        words += ["--set", setting]
    start = time.monotonic()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    wall_s = time.monotonic() - start
    with open(os.path.join(out, "timing.json"), encoding="utf-8") as f:
        timing = json.load(f)
    n_new = 0
    with open(os.path.join(out, "cases.jsonl"), encoding="utf-8") as f:
        for line in f:
            for part in json.loads(line)["inputs"].values():
                n_new += part["vanilla"]["n_tokens"] + part["edited"]["n_tokens"]
    return wall_s / o.cases, n_new / o.cases, timing


def run_peer(o):
    run = subprocess.run(["/usr/bin/python3", o.peer, o.model, "--new", str(o.new), "--threads",
                          str(o.threads), "--layer", str(o.layer), "--json"], check=True,
                         capture_output=True, text=True)
    return json.loads(run.stdout)


def main():
    o = arguments()
    with open(os.path.join(o.model, "config.json"), encoding="utf-8") as f:
        layer = o.layer % json.load(f)["num_hidden_layers"]
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        cases = os.path.join(folder, "cases.json")
        texts = Texts(o.program, o.model)
        suffix = texts.make(TOKENS["suffix"] - 1)
        write_cases(cases, o.cases, texts, suffix)
        for _ in range(o.turns):
            s, n_new, timing = run_ours(o, folder, cases, suffix, layer)
            ours.append(s)
            print(f"ours: {s:.2f} s per case, {n_new:.0f} new tokens in its ten answers; phases "
                  + ", ".join(f"{k} {v:.2f} s" for k, v in phases(timing)), flush=True)
            if o.peer:
                peer = run_peer(o)
                theirs.append(peer["case_s"])
                print("peer: " + ", ".join(f"{k} {v:.2f}" for k, v in peer.items()), flush=True)
    if theirs:
        a, b = statistics.median(ours), statistics.median(theirs)
        print(f"{o.cases} cases, {o.new} new tokens: ours {a:.2f} s per case, peer {b:.2f} s, "
              f"{b / a:.1f} times as fast")


def phases(timing):
    return list(timing["wall_s"].items())


if __name__ == "__main__":
    sys.exit(main())
