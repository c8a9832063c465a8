"""From a response to label and score: cutting, any number of labels, sigmoid and softmax, against
the independent PyTorch implementation, and the sentences of what is refused.

usage: judge.py BUILD_FOLDER      exit status 77: skipped, torch or ../shared is missing
DINM_SHARED_BENCH: the folder of refmodel.py, if it is not ../shared/bench
"""
import json
import os
import subprocess
import sys
import tempfile

SHARED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "shared", "bench")
SHARED = os.environ.get("DINM_SHARED_BENCH", SHARED)
sys.path.insert(0, SHARED)
try:
    import torch
    import refmodel
except ImportError as missing:
    print(f"SKIPPED: {missing}; needs Debian's python3-torch and ../shared/bench/refmodel.py")
    sys.exit(77)

TOLERANCE = 2e-5
TEXTS = ["No.", "I will not tell.", "naïve café ☃", "x" * 510, "y" * 511, "long " * 300, "  \n", ""]

# (names of the labels, problem_type, judge.unsafe_label, numbers of the unsafe ones, positions)
CASES = [
    (None, None, "", [1], 514),
    (["unsafe", "safe"], None, "", [0], 514),
    (["safe", "toxic", "threat"], "single_label_classification", "", [1, 2], 1026),
    (["a", "b", "c", "d", "e"], None, "d,0", [3, 0], 514),
    (["toxicity"], None, "", [0], 514),
    (["toxic", "insult", "spam"], "multi_label_classification", "toxic,insult", [0, 1], 514),
    (None, None, "0", [0], 34),
]


def write(folder, names, problem, n_positions, seed):
    refmodel.write_roberta(folder, seed=seed)
    config, weights = refmodel.load_dir(folder)
    n = 2 if names is None else len(names)
    g = torch.Generator().manual_seed(seed)
    weights["classifier.out_proj.weight"] = torch.randn(n, 32, generator=g) / 2
    weights["classifier.out_proj.bias"] = torch.randn(n, generator=g) / 2
    position = "roberta.embeddings.position_embeddings.weight"
    config["max_position_embeddings"] = n_positions + config["pad_token_id"] - 1
    weights[position] = torch.randn(config["max_position_embeddings"], 32, generator=g)
    del config["num_labels"], config["id2label"]
    if names is not None:
        config["id2label"] = {str(i): name for i, name in enumerate(names)}
    if problem is not None:
        config["problem_type"] = problem
    json.dump(config, open(os.path.join(folder, "config.json"), "w"))
    refmodel.save_safetensors(os.path.join(folder, "model.safetensors"), weights)
    return config, {name: w.double() for name, w in weights.items()}


def expect(config, weights, text, problem, unsafe, n_most):
    if not text.strip():
        return 0.5, 0.5, 0
    own = list(text.encode())
    kept = own[: n_most - 2]
    logits = refmodel.roberta_logits(config, weights, torch.tensor([256] + kept + [257]))
    if problem == "multi_label_classification" or len(logits) == 1:
        score = float(torch.sigmoid(logits)[unsafe].max())
    else:
        score = float(torch.softmax(logits, 0)[unsafe].sum())
    return float(score > 0.5), score, len(own) - len(kept)


def judge(program, folder, wanted, texts):
    stdin = b"".join(t.encode() + b"\0" for t in texts)
    return subprocess.run([program, folder, wanted], input=stdin, capture_output=True)


def check(program, folder, names, problem, wanted, unsafe, n_positions, seed):
    config, weights = write(folder, names, problem, n_positions, seed)
    n_most = min(512, n_positions - 2)
    run = judge(program, folder, wanted, TEXTS)
    assert run.returncode == 0, run.stderr
    lines = [[float(x) for x in line.split()] for line in run.stdout.decode().splitlines()]
    assert len(lines) == len(TEXTS)
    worst, n_cut = 0.0, 0
    for text, (label, score, cut) in zip(TEXTS, lines):
        e_label, e_score, e_cut = expect(config, weights, text, problem, unsafe, n_most)
        worst = max(worst, abs(score - e_score))
        assert cut == e_cut, (text[:9], cut, e_cut)
        assert worst <= TOLERANCE, (names, text[:9], score, e_score)
        assert label == e_label or abs(e_score - 0.5) < TOLERANCE, (text[:9], label, e_label)
        n_cut += cut > 0
    assert n_cut >= 2
    print(f"{names or 'no names'} {problem or ''}: {n_cut} texts cut, largest error {worst:.1e}")


def main():
    program = os.path.join(sys.argv[1], "tests", "judge_dump")
    with tempfile.TemporaryDirectory() as folder:
        for seed, case in enumerate(CASES):
            check(program, os.path.join(folder, str(seed)), *case, seed)
        refused = os.path.join(folder, "refused")
        write(refused, ["plus", "minus"], None, 514, 1)
        for wanted, part in (("", "set judge.unsafe_label"), ("other", "names another one")):
            run = judge(program, refused, wanted, ["text"])
            assert run.returncode == 1 and part in run.stderr.decode(), run.stderr
            assert '0 "plus", 1 "minus"' in run.stderr.decode(), run.stderr
        write(refused, None, None, 5, 1)
        assert judge(program, refused, "", ["text"]).returncode == 0
        write(refused, None, None, 4, 1)
        assert "takes 2 tokens, of which none" in judge(program, refused, "", ["text"]).stderr.decode()


main()
