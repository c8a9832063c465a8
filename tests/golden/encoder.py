"""The classifier against the independent PyTorch implementation, on random checkpoints.

usage: encoder.py BUILD_FOLDER      exit status 77: skipped, torch or ../shared is missing
DINM_SHARED_BENCH: the folder of refmodel.py, if it is not ../shared/bench
"""
import json
import os
import struct
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

TOLERANCE = 2e-5  # relative to the largest logit of the text

# (dtype, labels, prefix "roberta." kept, keyword arguments of the checkpoint, lengths of the texts)
CASES = [
    ("F32", 2, True, dict(), [1, 2, 3, 17, 64, 65, 130, 511, 513]),
    ("F16", 2, True, dict(dim=48, layers=3, heads=6, ffn=100, vocab=300), [5, 40, 9]),
    ("BF16", 2, True, dict(dim=64, layers=1, heads=1, ffn=72), [12, 31, 200]),
    ("F32", 2, True, dict(dim=160, layers=6, heads=5, ffn=640), [500, 400, 300, 2]),
    ("F32", 1, True, dict(), [3, 40, 100]),
    ("F16", 3, False, dict(), [3, 40, 100]),
    ("BF16", 5, False, dict(dim=48, layers=3, heads=6, ffn=100), [1, 77, 513]),
    ("F32", 5, False, dict(), [2, 21]),
]


def reshape(folder, dtype, n_labels, prefix, seed):
    """The checkpoint with n_labels labels, named or not as its base model names it, and with the
    buffer of positions that older versions of transformers saved."""
    config, weights = refmodel.load_dir(folder)
    dim = config["hidden_size"]
    g = torch.Generator().manual_seed(1000 + seed)
    weights["classifier.out_proj.weight"] = 3 * torch.randn(n_labels, dim, generator=g) / dim**0.5
    weights["classifier.out_proj.bias"] = 0.1 * torch.randn(n_labels, generator=g)
    if not prefix:
        weights = {name.removeprefix("roberta."): w for name, w in weights.items()}
    path = os.path.join(folder, "model.safetensors")
    refmodel.save_safetensors(path, weights, dtype)
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(size))
        data = f.read()
    ids = struct.pack("<514q", *range(514))
    header[("roberta." if prefix else "") + "embeddings.position_ids"] = {
        "dtype": "I64", "shape": [1, 514], "data_offsets": [len(data), len(data) + len(ids)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data + ids)
    del config["num_labels"]
    config["id2label"] = {str(i): f"LABEL_{i}" for i in range(n_labels)}
    json.dump(config, open(os.path.join(folder, "config.json"), "w"))
    # narrowed once more on the way: what is stored is what the reference computes with
    names = {name: name if prefix or name.startswith("classifier.") else "roberta." + name
             for name in weights}
    stored = {names[name]: w.to(refmodel.DT[dtype][0]).double() for name, w in weights.items()}
    return config, stored


def texts(lengths, seed):
    g = torch.Generator().manual_seed(seed)
    for n in lengths:
        ids = torch.randint(0, 256, (n,), generator=g)
        ids[0] = 256
        ids[-1] = 257 if n > 1 else 256
        yield ids


def dump(program, folder, inputs):
    lines = "".join(" ".join(str(int(i)) for i in ids) + "\n" for ids in inputs)
    run = subprocess.run([program, folder], input=lines, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"encoder_dump failed: {run.stderr}")
    return [[float(x) for x in line.split()] for line in run.stdout.splitlines()]


def check(program, folder, dtype, n_labels, prefix, shape, lengths, seed):
    refmodel.write_roberta(folder, dtype=dtype, seed=seed, **shape)
    config, weights = reshape(folder, dtype, n_labels, prefix, seed)
    inputs = list(texts(lengths, seed))
    found = dump(program, folder, inputs)
    assert len(found) == len(inputs), (len(found), len(inputs))
    worst = 0.0
    for ids, logits in zip(inputs, found):
        expected = refmodel.roberta_logits(config, weights, ids)
        assert expected.shape == (n_labels,) and len(logits) == n_labels
        error = (torch.tensor(logits, dtype=torch.float64) - expected).abs().max()
        worst = max(worst, float(error / expected.abs().max()))
        assert worst <= TOLERANCE, (dtype, shape, len(ids), logits, expected.tolist(), worst)
    print(f"{dtype} {n_labels} labels {shape}: {len(inputs)} texts, relative error {worst:.2e}")


def main():
    program = os.path.join(sys.argv[1], "tests", "encoder_dump")
    with tempfile.TemporaryDirectory() as folder:
        for seed, case in enumerate(CASES):
            check(program, os.path.join(folder, str(seed)), *case, seed)


main()
