"""What the training tools share: parts, batches, the loop that goes on, rounding."""

import numpy as np
import pytest

from picoformer.training import loop
from picoformer.training.data import Epochs, by_length, hashed_part
from picoformer.training.folders import round_rows
from shipped import load, stopped
from tools.training.folders import new_model


def test_a_hash_decides_the_part():
    parts = [hashed_part(f"text {i}", 20) for i in range(4000)]
    assert 150 < parts.count("test") < 250 and 150 < parts.count("validation") < 250


def test_an_epoch_holds_every_row_once():
    lengths = np.random.default_rng(1).integers(3, 30, 1000)
    epochs = Epochs(lengths, 16, seed=2)
    assert epochs.each == 63
    first, second = ([epochs.rows(63 * k + i) for i in range(1, 64)] for k in range(2))
    assert sorted(np.concatenate(first)) == sorted(np.concatenate(second)) == list(range(1000))
    assert np.mean([np.ptp(lengths[part]) for part in first]) < 3
    again = Epochs(lengths, 16, seed=2).rows(70)  # from the middle: the same
    assert np.array_equal(again, second[6]) and not np.array_equal(again, first[6])


def test_rows_by_length():
    rows = [[0] * n for n in (3, 1, 2, 1)]
    assert list(by_length(rows, 3)) == [[1, 3, 2], [0]]


def test_schedules_rise_and_fall():
    cosine = loop.half_cosine(100, 0.1)
    assert [round(cosine(step), 3) for step in (1, 10, 55, 100)] == [0.1, 1, 0.5, 0]
    straight = loop.trapezoid(100, 10, 50)
    assert [straight(step) for step in (1, 10, 50, 75, 100)] == [0.1, 1, 1, 0.5, 0]


@pytest.mark.parametrize("average", [0, 20])
def test_fit_goes_on_where_it_stopped(average, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")

    def run(path):
        torch.manual_seed(1)
        model = torch.nn.Linear(3, 2)

        def loss_of(step):
            x = torch.randn(8, 3)
            return torch.nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long())

        run = loop.Run(model, loop.adamw(model, 0.01), path, average)
        loop.fit(run, loss_of, steps=60, rate=0.1, schedule=loop.half_cosine(60), seed=1)
        return model.weight.detach().numpy()

    whole = run(tmp_path / "whole.pt")

    with stopped(monkeypatch, loop, iter(range(0, 10_000, 5))):
        run(tmp_path / "parts.pt")
    assert torch.load(tmp_path / "parts.pt")["step"] < 60
    np.testing.assert_allclose(run(tmp_path / "parts.pt"), whole, atol=1e-6)
    assert whole[1, 0] - whole[0, 0] > 1


def test_rounding_keeps_rows_on_255_levels():
    pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")

    torch.manual_seed(2)
    model = new_model(load("vision").CONFIG)
    rounded = dict(round_rows(model).named_parameters())
    for name, weight in model.named_parameters():
        off = (rounded[name] - weight).abs()
        if weight.ndim == 1:
            assert off.max() == 0, name
            continue
        rows = weight.reshape(-1, weight.shape[-1]) if weight.ndim == 3 else weight.flatten(1)
        scale = rows.abs().amax(1, keepdim=True) / 127
        assert (off.reshape(rows.shape) <= scale * 0.5001).all(), name
        levels = rounded[name].detach().reshape(rows.shape) / scale.clamp_min(1e-8)
        assert (levels - levels.round()).abs().max() < 1e-3, name
