from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np
import torch
from golden_cases import case_files, load_case, load_layout, recipe_state_dict
from safetensors.torch import save_file


def uniform(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The recipe's u, word for word."""
    g = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    return (g.random(math.prod(shape), dtype=np.float32) * 2 - 1).reshape(shape)


def test_each_rule_of_the_recipe() -> None:
    expected = {
        "norm.weight": 1 + 0.1 * uniform("norm.weight", (5,)),
        "ls1.gamma": 1 + 0.1 * uniform("ls1.gamma", (5,)),
        "norm.bias": 0.1 * uniform("norm.bias", (5,)),
        "mix_factor": 0.1 * uniform("mix_factor", ()),
        "bn.running_var": 1 + 0.5 * uniform("bn.running_var", (5,)),
        "bn.running_mean": 0.1 * uniform("bn.running_mean", (5,)),
        "pos_embed": 0.1 * uniform("pos_embed", (1, 4, 6)),
        "conv.weight": uniform("conv.weight", (4, 3, 2, 2)) * np.float32(math.sqrt(3 / 12)),
    }
    state = recipe_state_dict({key: value.shape for key, value in expected.items()} | {"bn.num_batches_tracked": ()})

    assert state.pop("bn.num_batches_tracked").dtype == torch.int64
    for key, value in expected.items():
        assert state[key].dtype == torch.float32
        assert np.array_equal(state[key].numpy(), np.asarray(value, np.float32)), key


def test_dtypes_are_applied_where_given() -> None:
    state = recipe_state_dict({"a.weight": (2, 2), "b.weight": (2, 2)}, {"a.weight": torch.float16})

    assert state["a.weight"].dtype == torch.float16
    assert state["b.weight"].dtype == torch.float32


def test_a_case_is_read_with_its_metadata(tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    path = tmp_path / "cases" / "unet_small.safetensors"
    save_file({"x": torch.arange(3.0)}, path, metadata={"timestep": "0.7", "config": '{"depth": 2}'})

    case = load_case(path)

    assert case.tensors["x"].tolist() == [0, 1, 2]
    assert case.metadata == {"timestep": 0.7, "config": {"depth": 2}}


def test_cases_are_chosen_by_prefix_and_their_absence_skips(tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    for name in ("unet_a", "unet_b", "pose_guider"):
        save_file({"x": torch.zeros(1)}, tmp_path / "cases" / f"{name}.safetensors")

    (absent,) = case_files("pipeline_", tmp_path)

    assert [p.id for p in case_files("unet_", tmp_path)] == ["unet_a", "unet_b"]
    assert "GOLDEN_DIR" in absent.marks[0].kwargs["reason"]


def test_a_layout_gives_shapes(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text('{"a.weight": [[2, 3], "float32"], "n": [[], "int64"]}')

    assert load_layout(path) == {"a.weight": (2, 3), "n": ()}
