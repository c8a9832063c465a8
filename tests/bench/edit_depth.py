"""The cost of an edit against the position of the edited layer. What lies below is read once, so a step
(with T of them: the difference between a job of T steps and one of 1 step, over T - 1) costs

    the edited matrix and the head  +  (layers above) x (forward and backward of one layer)

and an edit near the top is cheap however deep the model is. Every figure is the median of the runs'
phases vanilla and edit together in timing.json; all runs of a round are made before the next begins.

Checked, exit status 1 if not so: the straight line through the steps' times over the layers above
leaves none of them further off than --most of the longest.

usage: edit_depth.py PROGRAM MODEL [--steps 10] [--layers 0,3,6,9,11] [--runs 5] [--threads 2]
                     [--most 0.1] [--set KEY=VALUE]...
       MODEL: a folder that write_checkpoint.py made; one case of the demo's is edited
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
DEMO = os.path.join(HERE, "..", "..", "jobs", "demo")


def arguments():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("program")
    p.add_argument("model")
    for name, value in (("steps", 10), ("runs", 5), ("threads", 2)):
        p.add_argument("--" + name, type=int, default=value)
    p.add_argument("--layers", default="")
    p.add_argument("--most", type=float, default=0.1)
    p.add_argument("--set", action="append", default=[])
    return p.parse_args()


def n_layers(model):
    with open(os.path.join(model, "config.json"), encoding="utf-8") as f:
        return json.load(f)["num_hidden_layers"]


def edit_s(a, layer, steps):
    """Seconds of one case, with one token for each of its prompts. No step may be spared."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        line = [a.program, "--model", a.model, "--judge", "refusal", "--quiet", "--out", out,
                "--cases", os.path.join(DEMO, "cases.json"), "--limit", "1",
                "--threads", str(a.threads)]
        for setting in [f"locate.layers={layer}", f"edit.steps={steps}", "edit.stop_loss=0",
                        "generate.max_new_tokens=1", "evaluate.kqa_on=none", *a.set]:
            line += ["--set", setting]
        run = subprocess.run(line, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            sys.exit(f"the job ended with {run.returncode}: {run.stderr}")
        with open(os.path.join(out, "cases.jsonl"), encoding="utf-8") as f:
            done = len(json.loads(f.readline())["losses"])
        if done != steps:
            sys.exit(f"{done} steps were made instead of {steps}: no finite losses?")
        with open(os.path.join(out, "timing.json"), encoding="utf-8") as f:
            wall_s = json.load(f)["wall_s"]
        return wall_s["vanilla"] + wall_s["edit"]


def main():
    a = arguments()
    n = n_layers(a.model)
    layers = [int(x) for x in a.layers.split(",")] if a.layers else \
        sorted({0, n // 4, n // 2, 3 * n // 4, n - 1})
    seconds = {(layer, steps): [] for layer in layers for steps in (1, a.steps)}
    for _ in range(a.runs):
        for layer, steps in seconds:
            seconds[layer, steps].append(edit_s(a, layer, steps))
    median = {key: float(np.median(value)) for key, value in seconds.items()}
    above = np.array([n - 1 - layer for layer in layers], float)
    step = np.array([(median[layer, a.steps] - median[layer, 1]) / (a.steps - 1)
                     for layer in layers])
    slope, rest = np.polyfit(above, step, 1)
    line = slope * above + rest
    print(f"{n} layers, medians of {a.runs}; a step = {1e3 * rest:.1f} ms + layers above x "
          f"{1e3 * slope:.2f} ms\n"
          f"layer  above   1 step s  {a.steps:2} steps s   ms a step   on the line   off")
    for i, layer in enumerate(layers):
        print(f"{layer:5} {above[i]:6.0f} {median[layer, 1]:10.3f} {median[layer, a.steps]:10.3f}"
              f" {1e3 * step[i]:11.2f} {1e3 * line[i]:13.2f} {(step[i] - line[i]) / max(step):+5.2f}")
    off = float(np.max(np.abs(step - line)) / np.max(step))
    if slope <= 0 or off > a.most:
        sys.exit(f"FAILED: not linear in the layers above: {off:.2f} of the longest step off, "
                 f"{a.most:.2f} allowed")


if __name__ == "__main__":
    main()
