"""The small commands on random checkpoints against an independent PyTorch implementation: generate
with and without an edit, logits, tokenize, inspect, export, compare.

usage: commands.py BUILD_FOLDER      exit status 77: skipped, torch, h5py or ../shared is missing
"""
import filecmp
import json
import os
import subprocess
import sys
import tempfile

SHARED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "shared", "bench")
try:
    import h5py
    import numpy as np
    import torch
except ImportError as missing:
    print(f"SKIPPED: {missing}; on Debian: apt-get install python3-torch python3-h5py")
    sys.exit(77)
if not os.path.exists(os.path.join(SHARED, "refmodel.py")):
    print("SKIPPED: ../shared/bench/refmodel.py is not there")
    sys.exit(77)
sys.dont_write_bytecode = True
sys.path.insert(0, SHARED)
import refmodel as R

torch.set_num_threads(1)
PROGRAM = os.path.join(sys.argv[1], "dinm_pipeline")
BOS, EOS, NEW = 256, 257, 16
INPUTS = ["DS", "DG_onlyQ", "DG_otherA", "DG_otherQ", "DG_otherAQ"]


def run(*words, status=0, stdin=b""):
    done = subprocess.run([PROGRAM, *map(str, words)], input=stdin, capture_output=True)
    assert done.returncode == status, (words, done.returncode, done.stderr)
    return done.stdout.decode() if status == 0 else done.stderr.decode()


def ids(text):
    return [BOS] + list(text.encode())


def expect_close(what, got, want):
    error = float(np.abs(np.asarray(got) - np.asarray(want)).max() / np.abs(np.asarray(want)).max())
    assert np.shape(got) == np.shape(want) and error < 2e-5, (what, error)


def check_generate(model, cfg, w, *more, override=None):
    """The ids and the text of both forms of prompt; without a close second every token must agree."""
    prompt = "How do owls"
    want = R.greedy(cfg, w, ids(prompt), NEW, EOS, override)
    lead = R.forward(cfg, w, torch.tensor(ids(prompt) + want), override=override).topk(2, -1).values
    assert float((lead[:, 0] - lead[:, 1]).min()) > 1e-4, "choose another seed: two tokens are alike"
    got = json.loads(run("generate", "--model", model, "--prompt", prompt, "--max-new", NEW, "--json", *more))
    assert got["ids"] == want, (got, want)
    text = bytes(t for t in want if t < 256).decode("utf-8", "replace").replace("\0", "\ufffd")
    assert got["text"] == text, (got, text)
    listed = ",".join(map(str, ids(prompt)))
    again = run("generate", "--model", model, "--prompt-ids", listed, "--max-new", NEW, *more)
    assert again == text + "\n", (again, text)
    return want


def check_without_tokenizer(folder):
    model = os.path.join(folder, "bare")
    R.write_decoder(model, seed=3, gain=1.5)
    cfg, w = R.load_dir(model)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        os.remove(os.path.join(model, name))
    want = R.greedy(cfg, w, [BOS, 65, 66], 5, -1)
    words = ["generate", "--model", model, "--max-new", 5]
    assert json.loads(run(*words, "--prompt-ids", "256,65,66", "--json")) == {"ids": want, "text": None}
    assert run(*words, "--prompt-ids", "256,65,66") == ",".join(map(str, want)) + "\n"
    assert "has no tokenizer to read" in run(*words, "--prompt", "x", status=1)
    assert "is not in the model's vocabulary of 260" in run(*words, "--prompt-ids", "260", status=1)
    for wrong in ("1,,2", "1,", "", "a", "-1", "1.5", "99999999999"):
        assert "--prompt-ids: expected" in run(*words, "--prompt-ids", wrong, status=2), wrong
    assert "either" in run(*words, status=2)
    assert "either" in run(*words, "--prompt", "x", "--prompt-ids", "1", status=2)


def check_logits(folder, model, cfg, w, override, *more):
    out = os.path.join(folder, "logits.h5")
    tokens = ids("Fold a boat")
    run("logits", "--model", model, "--prompt", "Fold a boat", "--out", out, *more)
    logits, hidden = R.forward(cfg, w, torch.tensor(tokens), hidden=True, override=override)
    with h5py.File(out) as f:
        assert f["logits"].dtype == np.float32 and f["hidden_states"].dtype == np.float32
        assert list(f["ids"]) == tokens
        expect_close("logits", f["logits"][:], logits.detach().numpy())
        expect_close("hidden states", f["hidden_states"][:], torch.stack(hidden).detach().numpy())


def lines_of(*words, stdin):
    return [[int(t) for t in line.split()] for line in run("tokenize", *words, stdin=stdin).split("\n")[:-1]]


def check_tokenize(model):
    words = ["--model", model]
    assert lines_of(*words, stdin="h\u00e9\n".encode()) == [ids("h\u00e9\n")]
    assert lines_of(*words, "--ids", stdin=b"") == [[BOS]]
    assert lines_of(*words, "--no-special", stdin=b"") == [[]]
    assert lines_of(*words, "--split", "||", stdin=b"a||b|c||") == [ids("a"), ids("b|c"), [BOS]]
    assert lines_of(*words, "--split", "\\n", stdin=b"a\nb") == [ids("a"), ids("b")]
    assert lines_of(*words, "--split", "\\0", stdin=b"a\0b\\0") == [ids("a"), ids("b\\0")]
    assert lines_of(*words, "--split", "aab", stdin=b"aaab") == [ids("a"), [BOS]]
    assert lines_of(*words, "--no-special", stdin=b"</s>") == [list(b"</s>")]
    assert lines_of(*words, "--no-special", "--control", stdin=b"</s>x") == [[EOS, ord("x")]]
    long = b"0123456789" * 20000
    assert lines_of(*words, "--no-special", stdin=long) == [list(long)]


def make_job(folder, model, dtype, layer, delta):
    out = os.path.join(folder, "job-" + dtype)
    os.makedirs(os.path.join(out, "edits"))
    with open(os.path.join(out, "job.json"), "w") as f:
        json.dump({"model": {"path": model}}, f)
    path = os.path.join(out, "edits", "case-000012.safetensors")
    R.save_safetensors(path, {f"model.layers.{layer}.mlp.down_proj.weight": delta})
    return out, path


def check_export(folder, model, dtype, out, name, edited):
    to = os.path.join(folder, "exported-" + dtype)
    with open(os.path.join(model, "pytorch_model.bin"), "w") as f:
        f.write("weights in another format, with the matrix as it was")
    os.makedirs(os.path.join(model, "deeper"), exist_ok=True)
    done = subprocess.run([PROGRAM, "export", out, "--case", "12", "--to", to], capture_output=True)
    assert done.returncode == 0, done.stderr
    for left_out in ("pytorch_model.bin", "deeper"):
        assert ("left out: " + os.path.join(model, left_out)).encode() in done.stderr
        assert not os.path.exists(os.path.join(to, left_out))
    assert f"with the edit of case 12 in layer {name.split('.')[2]}\n".encode() in done.stdout
    _, before = R.load_dir(model)
    _, after = R.load_dir(to)
    assert before.keys() == after.keys()
    for key in before:
        want = edited.to(R.DT[dtype][0]).float() if key == name else before[key]
        assert torch.equal(after[key], want), key
    weights = [f for f in os.listdir(to) if f.endswith(".safetensors")]
    others = [f for f in os.listdir(to) if f not in weights]
    assert "config.json" in others and "tokenizer.json" in others
    assert not filecmp.cmpfiles(model, to, others, shallow=False)[1]
    changed = filecmp.cmpfiles(model, to, weights, shallow=False)[1]
    assert len(changed) == 1, changed
    assert "already holds a model" in run("export", out, "--case", 12, "--to", to, status=1)
    assert "was not saved" in run("export", out, "--case", 13, "--to", to + "2", status=1)
    return to


def check_wrong_deltas(folder, model, layer):
    words = ["generate", "--model", model, "--prompt", "x", "--delta"]
    name, delta = f"model.layers.{layer}.mlp.down_proj.weight", torch.zeros(64, 160)
    for n, (tensors, part) in enumerate([
            ({name: delta, "other": delta}, "found 2 tensors"),
            ({"model.layers.0.mlp.up_proj.weight": delta}, "expected one tensor named like"),
            ({"model.layers.01.mlp.down_proj.weight": delta}, "expected one tensor named like"),
            ({"model.layers.9.mlp.down_proj.weight": delta}, "the model has 4 layers"),
            ({name: torch.zeros(160, 64)}, "expected the model's shape [64][160], found [160][64]"),
            ({name: torch.zeros(64)}, "expected a matrix")]):
        path = os.path.join(folder, f"wrong{n}.safetensors")
        R.save_safetensors(path, tensors)
        assert part in run(*words, path, status=1), (n, run(*words, path, status=1))
    assert "cannot open" in run(*words, os.path.join(folder, "nothing"), status=1)


def check_inspect(folder, model, out, delta):
    text = run("inspect", model)
    for part in ("language model of type llama", "layers        4", "width         64; 4 heads of 16, 2 of keys",
                 "BF16", "files         2", "259 ids, BOS 256, EOS 257, PAD 258"):
        assert part in text, (part, text)
    assert "[64][160]" in run("inspect", delta)
    judge = os.path.join(folder, "judge")
    R.write_roberta(judge)
    assert "classifier of RoBERTa type, 2 labels" in run("inspect", judge)
    text = run("inspect", out)
    assert "output folder of a job" in text and "locate   0 cases done" in text and "no results yet" in text, text
    assert "hidden_states" in run("inspect", os.path.join(folder, "logits.h5"))


def write_cases(out, rows, kqa=True):
    """rows: id -> (five labels, fluency, repetition) or None for a failed case."""
    os.makedirs(out)
    with open(os.path.join(out, "cases.jsonl"), "w") as f:
        for case, row in rows.items():
            line = {"id": case, "failed": "the loss is not finite"}
            if row is not None:
                inputs = {k: {"vanilla": {"label": 1}, "edited": {"label": float(v)}} for k, v in zip(INPUTS, row[0])}
                line = {"id": case, "inputs": inputs, "fluency": {"vanilla": 9, "edited": row[1]},
                        "repetition": {"vanilla": 9, "edited": row[2]}}
                if kqa:
                    line["kqa"] = {"vanilla": 9, "edited": case % 7, "n": 8}
            f.write(json.dumps(line) + "\n")


def check_compare(folder):
    a, b = os.path.join(folder, "a"), os.path.join(folder, "b")
    rng = np.random.default_rng(5)
    left = {i: (rng.choice([0, 0.5, 1], 5), rng.random(), rng.random()) for i in range(40)}
    right = {i: (rng.choice([0, 1], 5), left[i][1] + 0.25, rng.random()) for i in range(2, 40)}
    left[3], right[77], right[5] = None, left[1], None
    write_cases(a, left)
    write_cases(b, dict(reversed(right.items())))
    text = run("compare", a, b)
    assert "edited models, 36 cases in both; left out: 2 only in A, 1 only in B, 2 failed in one of them" in text, text
    both = [i for i in left if left[i] is not None and right.get(i) is not None]
    safe = {side: np.array([100 * (1 - rows[i][0]) for i in both]) for side, rows in (("a", left), ("b", right))}
    columns = {k: (safe["a"][:, n], safe["b"][:, n]) for n, k in enumerate(INPUTS)}
    columns["DG_Avg"] = safe["a"][:, 1:].mean(1), safe["b"][:, 1:].mean(1)
    columns["Fluency"] = tuple(np.array([rows[i][1] for i in both]) for rows in (left, right))
    columns["Repetition"] = tuple(np.array([rows[i][2] for i in both]) for rows in (left, right))
    columns["KQA"] = (100 / 8 * np.array([i % 7 for i in both]),) * 2
    table = {line.split()[0]: line.split()[1:] for line in text.split("\n")[5:] if line}
    assert table.keys() == columns.keys(), text
    for key, (x, y) in columns.items():
        found = [float(t.strip("[],")) for t in table[key]]
        spread = 1.96 * (y - x).std() / len(x) ** 0.5
        want = [x.mean(), y.mean(), (y - x).mean(), (y - x).mean() - spread, (y - x).mean() + spread]
        assert np.allclose(found[:3], want[:3], rtol=0, atol=0.0006 if key == "Repetition" else 0.006), (key, found, want)
        assert np.allclose(found[3:], want[3:], atol=0.006 + 0.25 * spread), (key, found, want)
    write_cases(os.path.join(folder, "c"), {500: left[0]})
    write_cases(os.path.join(folder, "d"), left, kqa=False)
    assert "KQA" not in run("compare", a, os.path.join(folder, "d"))
    assert "no case was done in both" in run("compare", a, os.path.join(folder, "c"), status=1)
    with open(os.path.join(b, "cases.jsonl"), "a") as f:
        f.write('{"id": 90, "inputs": {}}\n')
    assert "cases.jsonl, line 40" in run("compare", a, b, status=1)


def main():
    with tempfile.TemporaryDirectory() as folder:
        for n, (dtype, shape) in enumerate([("F32", dict(kv_heads=2)), ("BF16", dict(kv_heads=2, shards=2)),
                                            ("F16", dict(tie=True))]):
            model, layer = os.path.join(folder, "model-" + dtype), n + 1
            R.write_decoder(model, dtype=dtype, seed=n, gain=1.5, **shape)
            cfg, w = R.load_dir(model)
            name = f"model.layers.{layer}.mlp.down_proj.weight"
            torch.manual_seed(n)
            out, delta = make_job(folder, model, dtype, layer, 0.05 * torch.randn(w[name].shape))
            edited = {name: w[name] + R.load_safetensors(delta)[name]}
            plain = check_generate(model, cfg, w)
            changed = check_generate(model, cfg, w, "--delta", delta, override=edited)
            assert plain != changed, "the edit must change the answer"
            check_logits(folder, model, cfg, w, None)
            check_logits(folder, model, cfg, w, edited, "--delta", delta)
            to = check_export(folder, model, dtype, out, name, edited[name])
            check_generate(to, *R.load_dir(to))
            if dtype == "BF16":
                check_inspect(folder, model, out, delta)
        check_wrong_deltas(folder, model, layer)
        check_tokenize(model)
        check_without_tokenizer(folder)
        check_compare(folder)
    print("all commands agree")


main()
