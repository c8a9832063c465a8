"""The decoder against an independent one in PyTorch: logits, hidden states, greedy tokens, edits.

usage: decoder.py BUILD_FOLDER      exit status 77: skipped, torch or ../shared is missing

Errors are the largest absolute difference over the largest absolute value of the reference.
"""
import json
import os
import subprocess
import sys
import tempfile

SHARED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "shared")


def skip(why):
    print(f"SKIPPED: {why}")
    sys.exit(77)


try:
    import h5py
    import numpy as np
    import torch
except ImportError as missing:
    skip(f"{missing}; on Debian: apt-get install python3-torch python3-h5py")
sys.path.insert(0, os.path.join(SHARED, "bench"))
try:
    import refmodel
except ImportError:
    skip(f"the reference model ../shared/bench/refmodel.py is not at {os.path.abspath(SHARED)}")

DUMP = os.path.join(sys.argv[1], "tests", "decoder_dump")
LIMIT = 2e-5


def dump(mode, folder, *words, dtype=np.float32):
    out = os.path.join(tempfile.gettempdir(), f"decoder_dump_{os.getpid()}")
    try:
        subprocess.run([DUMP, mode, folder, out, *map(str, words)], check=True)
        return np.fromfile(out, dtype)
    finally:
        if os.path.exists(out):
            os.remove(out)


def words(ids):
    return ",".join(str(int(i)) for i in ids)


def expect_close(what, ours, reference, limit):
    reference = np.asarray(reference, np.float64)
    assert ours.shape == reference.shape, (what, ours.shape, reference.shape)
    error = np.abs(ours - reference).max() / np.abs(reference).max()
    print(f"{what}: error {error:.1e}, limit {limit:.1e}")
    assert error <= limit, what


def forward(folder, cfg, ids):
    n, d, vocab = len(ids), cfg["hidden_size"], cfg["vocab_size"]
    numbers = dump("forward", folder, words(ids))
    logits, states = numbers[: n * vocab], numbers[n * vocab:]
    return logits.reshape(n, vocab), states.reshape(cfg["num_hidden_layers"] + 1, n, d)


def check_forward(folder, name):
    cfg, w = refmodel.load_dir(folder)
    w64 = {k: v.double() for k, v in w.items()}
    for n in (1, 7, 65, 200):
        ids = np.random.default_rng(n).integers(0, cfg["vocab_size"], n)
        logits, states = forward(folder, cfg, ids)
        reference, hidden = refmodel.forward(cfg, w64, torch.tensor(ids), hidden=True)
        expect_close(f"{name}, {n} tokens: logits", logits, reference, LIMIT)
        for l, state in enumerate(hidden):
            expect_close(f"{name}, {n} tokens: state {l}", states[l], state, LIMIT)


def check_greedy(folder, name):
    cfg, w = refmodel.load_dir(folder)
    ids = [256, 72, 105]
    ours = dump("greedy", folder, words(ids), 40, dtype=np.int32)
    assert refmodel.greedy(cfg, w, ids, 40, eos=-1) == ours.tolist(), name
    print(f"{name}: 40 greedy tokens equal")


def distance(ours, reference):
    return np.linalg.norm(ours - reference) / np.linalg.norm(reference)


def first_gradient(cfg, w, layer, prompt, target):
    """Of 0.1 times the mean negative log-likelihood; the divergence's is 0 at first."""
    name = f"model.layers.{layer}.mlp.down_proj.weight"
    p = w[name].clone().requires_grad_(True)
    logits = refmodel.forward(cfg, w, torch.tensor([*prompt, *target]), override={name: p})
    rows = logits[-len(target) - 1:-1].log_softmax(-1)
    loss = -0.1 * rows.gather(1, torch.tensor(target)[:, None]).mean()
    return torch.autograd.grad(loss, p)[0].numpy()


def check_edit(folder, name, layer):
    cfg, w32 = refmodel.load_dir(folder)
    w = {k: v.double() for k, v in w32.items()}
    rng = np.random.default_rng(5)
    prompt, target = rng.integers(0, 256, 70), rng.integers(0, 256, 30)
    constraint, n_constraint, n_steps = rng.integers(0, 256, 50), 20, 10
    numbers = dump("edit", folder, layer, n_steps, words([*prompt, *target]), len(target),
                   words(constraint), n_constraint)
    edit = (layer, prompt, target, constraint, n_constraint, n_steps)
    delta, log = refmodel.dinm_edit(cfg, w, *edit)
    delta = delta.numpy()
    ours, losses, gradient = np.split(numbers, [delta.size, delta.size + 3 * n_steps])
    name = f"{name}, edit of layer {layer}"
    expect_close(f"{name}: gradient", gradient.reshape(delta.shape),
                 first_gradient(cfg, w, layer, prompt, target), LIMIT)
    expect_close(f"{name}: losses", losses.reshape(-1, 3), np.array(log), LIMIT)
    # Adam's first step is the gradient's sign. Where the gradient is no more than rounding, so is
    # the step, in every float32 program: PyTorch's own, against its float64, sets the limit then.
    error = distance(ours.reshape(delta.shape), delta)
    limit = max(LIMIT, 2 * distance(refmodel.dinm_edit(cfg, w32, *edit)[0].numpy(), delta))
    print(f"{name}: delta: error {error:.1e} of its norm, limit {limit:.1e}")
    assert error <= limit, name


def check_stories():
    models = os.path.join(SHARED, "data", "models", "stories260K")
    if not os.path.isdir(models):
        skip("the model ../shared/data/models/stories260K is not there")
    expected = json.load(open(os.path.join(models, "reference.json")))["bos"]["greedy_tokens"]
    ours = dump("greedy", os.path.join(models, "hf-f32"), "1", 200, dtype=np.int32)
    assert expected[1:201] == ours.tolist(), "stories260K: greedy tokens"
    print("stories260K: 200 greedy tokens equal")
    with h5py.File(os.path.join(models, "reference.h5")) as f:
        for text in f:
            ids = f[text]["tokens"][...]
            for kind, key in (("f32", "logits_f64"), ("f16", "logits_f16weights_f64"),
                              ("bf16-sharded", "logits_bf16weights_f64")):
                folder = os.path.join(models, "hf-" + kind)
                cfg = json.load(open(os.path.join(folder, "config.json")))
                logits, states = forward(folder, cfg, ids)
                expect_close(f"stories260K {kind}, {text}: logits", logits, f[text][key], 5e-5)
                if kind == "f32":
                    expect_close(f"stories260K {kind}, {text}: states", states,
                                 f[text]["hidden_states_hf_f64"], 5e-5)


def main():
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        for i, options in enumerate((dict(), dict(kv_heads=2), dict(tie=True, kv_heads=1),
                                     dict(dtype="F16", kv_heads=2), dict(dtype="BF16", tie=True),
                                     dict(dtype="BF16", dim=160, ffn=328, theta=500000.0))):
            options = dict(dim=64, layers=3, heads=4, ffn=176, vocab=300, seed=i) | options
            path = os.path.join(folder, str(i))
            refmodel.write_decoder(path, **options)
            name = ", ".join(f"{k}={v}" for k, v in options.items())
            check_forward(path, name)
            check_greedy(path, name)
            for layer in range(options["layers"]):
                check_edit(path, name, layer)
    check_stories()


main()
