"""A benchmark that shows one photograph beside several generators is dealt so that no part shares it."""

from __future__ import annotations

from pathlib import Path

import pytest

from interp.images.image_set import ImageSet
from interp.protocol.splits import Protocol

MAKERS = {
    "genimage": ("Midjourney/val/{}", "ADM/val/{}", "VQDM/val/{}"),
    "synthbuster": ("dalle2", "dalle3", "glide"),
}


@pytest.mark.parametrize("layout", list(MAKERS))
def test_a_photograph_is_in_one_part_only(layout: str, tmp_path: Path) -> None:
    for number in range(12):
        for place in MAKERS[layout]:
            names = [
                f"{place.format('ai')}/{number}_x.png",
                f"{place.format('nature')}/ILSVRC2012_val_{number:08d}.JPEG",
            ]
            if layout == "synthbuster":
                names = [f"{folder}/r{number:08x}t.png" for folder in (place, "real_RAISE_1k")]
            for name in names:
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name).touch()
    images = ImageSet.open(tmp_path)
    assert images.layout == layout
    makers = sorted(set(images.table["generator"]) - {"real"})
    rows = images.table.reset_index()
    protocol = Protocol.by_hand(images.table, train=makers[0], select=makers[1], test=makers[2], seeds=2)
    for split in protocol:
        photographs = [
            set(rows.iloc[part]["key"].str.extract(r"(ILSVRC2012_val_\d+|r\w{8}t)")[0].dropna())
            for part in (split.train, split.select, split.test)
        ]
        assert all(photographs)
        assert sum(map(len, photographs)) == len(set.union(*photographs)) <= 12
