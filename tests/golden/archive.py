"""What tests/mpi/mpi_archive.c wrote, opened with h5py: every value, scale and attribute.

usage: archive.py BUILD_FOLDER      exit status 77: skipped, h5py or numpy is missing
"""
import os
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
except ImportError as missing:
    print(f"SKIPPED: {missing}; on Debian: apt-get install python3-h5py")
    sys.exit(77)

N_CASES, N_LAYERS, N_STEPS, D_MODEL = 5, 3, 4, 64
CASE_IDS = [11, 12, 40, 7, 1000000007]
CATEGORIES = ["physical harm", "Political Sensitivity", "a", "d\u00e9mo", "a"]
N_TOKENS = [20000, 3, 1, 5, 2, 0, 4, 4, 1, 2]


def value(row, layer, i):
    row, layer, i = np.ogrid[:row, :layer, :i] if np.isscalar(row) else (row, layer, i)
    return ((row * 1009 + layer * 131 + i * 17) % 9973 / 997.0 - 5.0).astype(np.float32)


def text(x):
    return x.decode() if isinstance(x, bytes) else x


def check_scale(dataset, axis, name, path, values):
    dimension = dataset.dims[axis]
    assert dimension.label == name, (dataset.name, axis, dimension.label)
    assert list(dimension.keys()) == [name], (dataset.name, axis, list(dimension.keys()))
    scale = dimension[0]
    assert scale.name == path and h5py.h5ds.is_scale(scale.id), (dataset.name, scale.name)
    assert scale.attrs["CLASS"] == b"DIMENSION_SCALE"
    assert [text(v) for v in scale[...]] == list(values), scale.name


def check_axes(f, dataset, axes):
    values = {
        "/sample": range(2 * N_CASES), "/case": CASE_IDS, "/layer": range(N_LAYERS + 1),
        "/locate/distance_layer": range(1, N_LAYERS + 1), "/d_model": range(D_MODEL),
        "/step": range(f["step"].shape[0]), "/edit/term": ["total", "edit", "constraint"],
        "/token": range(sum(N_TOKENS)),
    }
    assert dataset.ndim == len(axes)
    for axis, path in enumerate(axes):
        name = "layer" if path == "/locate/distance_layer" else path.split("/")[-1]
        check_scale(dataset, axis, name, path, values[path])


def check_samples(f):
    s = f["samples"]
    assert s["case_id"][...].tolist() == [i for i in CASE_IDS for _ in range(2)]
    assert s["side"][...].tolist() == [0, 1] * N_CASES
    assert s["n_tokens"][...].tolist() == N_TOKENS
    assert s["category"].dtype.kind == "S" and h5py.check_string_dtype(s["category"].dtype).length
    assert [c.decode() for c in s["category"][...]] == [c for c in CATEGORIES for _ in range(2)]
    for name in s:
        check_axes(f, s[name], ["/sample"])


def check_tokens(f):
    t = f["tokens"]
    total = sum(N_TOKENS)
    assert np.array_equal(t["ids"][...], np.arange(total) * 7 % 32000)
    assert np.array_equal(t["sample"][...], np.repeat(np.arange(10), N_TOKENS))
    assert np.array_equal(t["position"][...], np.concatenate([np.arange(n) for n in N_TOKENS]))
    assert np.array_equal(t["offsets"][...], np.concatenate([[0], np.cumsum(N_TOKENS)]))
    for name in ("ids", "sample", "position"):
        check_axes(f, t[name], ["/token"])


def check_hidden(f, position, dtype):
    h = f["activations/resid_post"]
    full = position == "full"
    assert h.dtype == np.dtype(dtype), h.dtype
    assert h.shape == (sum(N_TOKENS) if full else 10, N_LAYERS + 1, D_MODEL)
    assert np.prod(h.chunks) * h.dtype.itemsize <= 1 << 20 and not h.compression
    assert np.isnan(h.fillvalue)
    expected = value(*h.shape).astype(dtype)
    offsets = np.concatenate([[0], np.cumsum(N_TOKENS if full else [1] * 10)])
    expected[offsets[3]:offsets[4]] = np.nan  # never written
    assert np.array_equal(h[...], expected, equal_nan=True)
    check_axes(f, h, ["/token" if full else "/sample", "/layer", "/d_model"])
    assert h.attrs["position"] == position and h.attrs["units"] == "1"
    assert h.attrs["hf_name"] == "hidden_states[l]"
    assert h.attrs["transformer_lens_name"] == "blocks.{l}.hook_resid_post"


def check_results(f, n_steps):
    distance, layer, loss = f["locate/distance"], f["locate/layer"], f["edit/loss"]
    assert distance.dtype == np.float32 and layer.dtype == np.int32 and loss.dtype == np.float32
    i, j = np.arange(N_CASES)[:, None], np.arange(N_LAYERS)[None, :]
    expected = value(i, j, np.array(5))
    expected[4] = np.nan
    assert np.array_equal(distance[...], expected, equal_nan=True)
    assert layer[...].tolist() == [0, 1, 2, 0, -1] and layer.fillvalue == -1
    expected = value(i, np.arange(3 * n_steps)[None, :], np.array(6)).reshape(N_CASES, n_steps, 3)
    expected[4] = np.nan
    expected[2, 2:] = np.nan  # stopped early
    assert loss.shape == expected.shape
    assert np.array_equal(loss[...], expected, equal_nan=True)
    check_axes(f, distance, ["/case", "/locate/distance_layer"])
    check_axes(f, layer, ["/case"])
    check_axes(f, loss, ["/case", "/step", "/edit/term"])


def check_file(path, position, dtype, n_steps=N_STEPS):
    with h5py.File(path, "r") as f:
        assert f.attrs["model"] == 'tiny "model"' and f.attrs["digest"] == "0123456789abcdef"
        assert f.attrs["version"] == "1.2.3" and f.attrs["settings"] == '{"edit": {"lr": 5e-4}}'
        check_samples(f)
        check_results(f, n_steps)
        assert ("activations" in f) == (position is not None)
        assert ("tokens" in f) == (position == "full")
        if position:
            check_hidden(f, position, dtype)
        if position == "full":
            check_tokens(f)


def check_logits(path):
    with h5py.File(path, "r") as f:
        assert sorted(f) == ["hidden_states", "ids", "logits"]
        assert f["logits"].dtype == np.float32 and f["hidden_states"].dtype == np.float32
        zero = np.array(0)
        assert np.array_equal(f["logits"][...], value(zero, zero, np.arange(21)).reshape(3, 7))
        n = 4 * 3 * D_MODEL
        expected = value(np.array(1), zero, np.arange(n)).reshape(4, 3, D_MODEL)
        assert np.array_equal(f["hidden_states"][...], expected)
        assert f["ids"].dtype == np.int32 and f["ids"][...].tolist() == [5, 0, -1]


def check_killed(path):
    with h5py.File(path, "r") as f:
        h = f["activations/resid_post"]
        assert np.array_equal(h[:2], value(*h.shape).astype(np.float16)[:2])
        assert np.isnan(h[2:]).all()


def main():
    program = os.path.join(sys.argv[1], "tests", "mpi_archive")
    with tempfile.TemporaryDirectory() as folder:
        run = ["mpirun", "--quiet", "-n", "3", program, folder]
        subprocess.run(run, check=True)
        check_file(f"{folder}/last.h5", "last", "float16")
        check_file(f"{folder}/mean.h5", "mean", "float32")
        check_file(f"{folder}/full.h5", "full", "float16")
        check_file(f"{folder}/nosteps.h5", "full", "float32", n_steps=0)
        check_file(f"{folder}/none.h5", None, None)
        check_file(f"{folder}/cart.h5", "last", "float32")
        check_logits(f"{folder}/logits.h5")
        killed = subprocess.run(run + ["die"], stderr=subprocess.DEVNULL)
        assert killed.returncode == 137, killed.returncode
        check_killed(f"{folder}/killed.h5")
        print("every value, scale and attribute is as written")


main()
