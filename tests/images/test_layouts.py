"""Miniature copies of public benchmarks: who made what, which photograph stands behind it, and which split."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.errors import InputError
from interp.images.image_set import ImageSet
from interp.images.layouts import LAYOUTS, Layout, each, read_layout

GENIMAGE = {
    "ADM/imagenet_ai_0508_adm": ("adm", "115_adm_141.PNG"),
    "BigGAN/imagenet_ai_0419_biggan": ("biggan", "116_biggan_00094.png"),
    "glide/imagenet_glide": ("glide", "GLIDE_1000_200_08_808_glide_00033.png"),
    "Midjourney/imagenet_midjourney": ("midjourney", "208_midjourney_76.png"),
    "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4": ("stable-diffusion-1.4", "033_sdv4_00134.png"),
    "stable_diffusion_v_1_5/imagenet_ai_0424_sdv5": ("stable-diffusion-1.5", "033_sdv5_00134.png"),
    "VQDM/imagenet_ai_0419_vqdm": ("vqdm", "VQDM_1000_200_00_001_vqdm_00035.png"),
    "wukong/imagenet_ai_0424_wukong": ("wukong", "033_wukong_00134.png"),
}

# layout: {path: (label, generator, group or "" for itself, split)}
TREES: dict[str, dict[str, tuple[str, str, str, str]]] = {
    "genimage": {
        **{
            f"{place}/train/ai/{name}": ("fake", maker, "", "train")
            for place, (maker, name) in GENIMAGE.items()
        },
        **{
            f"{place}/val/nature/ILSVRC2012_val_00000744.JPEG": (
                "real",
                "real",
                "ILSVRC2012_val_00000744",
                "val",
            )
            for place in GENIMAGE
        },
        "ADM/imagenet_ai_0508_adm/train/nature/n01440764_1234.JPEG": (
            "real",
            "real",
            "n01440764_1234",
            "train",
        ),
        "Stable Diffusion V1.4/train/nature/n01440764_1234.JPEG": ("real", "real", "n01440764_1234", "train"),
        "Stable Diffusion V1.4/val/ai/x.png": ("fake", "stable-diffusion-1.4", "", "val"),
        "new_one/val/ai/x.png": ("fake", "new_one", "", "val"),
        "imagenet_ai/val/ai/208_midjourney_76.png": ("fake", "midjourney", "", "val"),
    },
    "cnndetection": {
        "train/progan/airplane/0_real/00001.png": ("real", "real", "", "train"),
        "train/progan/train/1_fake/00001.png": ("fake", "progan", "", "train"),
        "progan_val/cat/1_fake/1.png": ("fake", "progan", "", "val"),
        "test/progan/cat/1_fake/00001.png": ("fake", "progan", "", "test"),
        "test/cyclegan/horse/1_fake/00001.png": ("fake", "cyclegan", "", "test"),
        "test/stylegan2/car/0_real/00001.png": ("real", "real", "", "test"),
        "biggan/1_fake/00000701.png": ("fake", "biggan", "", "test"),
        "crn/0_real/00100001.png": ("real", "real", "gta/00100001", "test"),
        "imle/1_fake/00100001.png": ("fake", "imle", "gta/00100001", "test"),
        "seeingdark/1_fake/7.png": ("fake", "seeingdark", "seeingdark/7", "test"),
        "diffusion_datasets/laion/0_real/a.jpg": ("real", "real", "", "test"),
        "diffusion_datasets/guided/1_fake/a.png": ("fake", "guided", "", "test"),
        "own/1_fake/a.png": ("fake", "own", "", ""),
    },
    "universalfakedetect": {
        "guided/1_fake/a.png": ("fake", "guided", "", "test"),
        "imagenet/0_real/b.jpg": ("real", "real", "", "test"),
        "laion/0_real/c.jpg": ("real", "real", "", "test"),
        **{
            f"{name}/1_fake/d.png": ("fake", name, "", "test")
            for name in (
                "ldm_200",
                "ldm_200_cfg",
                "ldm_100",
                "glide_100_27",
                "glide_50_27",
                "glide_100_10",
                "dalle",
            )
        },
    },
    "synthbuster": {
        "dalle2/r000da54ft.png": ("fake", "dalle2", "r000da54ft", ""),
        "midjourney-v5/r000da54ft.png": ("fake", "midjourney-v5", "r000da54ft", ""),
        "stable-diffusion-xl/r05839451t.png": ("fake", "stable-diffusion-xl", "r05839451t", ""),
        "real_RAISE_1k/r000da54ft.png": ("real", "real", "r000da54ft", ""),
    },
    "drct-2m": {
        "MSCOCO/train2017/000000000025.jpg": ("real", "real", "coco/000000000025", "train"),
        "MSCOCO/val2017/000000000071.jpg": ("real", "real", "coco/000000000071", "test"),
        "DRCT-2M/stable-diffusion-v1-4/train2017/000000000025.png": (
            "fake",
            "stable-diffusion-v1-4",
            "coco/000000000025",
            "train",
        ),
        "DRCT-2M/sdxl-turbo/val2017/000000000071_7.webp": ("fake", "sdxl-turbo", "coco/000000000071", "test"),
    },
    "imagefolder": {
        "train/real/a.png": ("real", "real", "", "train"),
        "train/fake/a.png": ("fake", "fake", "", "train"),
        "validation/midjourney/deep/a.png": ("fake", "midjourney", "", "val"),
        "test/REAL/b.jpg": ("real", "real", "", "test"),
    },
    "community-forensics": {
        "DeepFloyd/fake/a.png": ("fake", "DeepFloyd", "", ""),
        "DeepFloyd/real/a.png": ("real", "real", "", ""),
        "COCO/real/000000000025.jpg": ("real", "real", "", ""),
    },
    "general": {
        "glide/x/a.png": ("fake", "glide", "", ""),
        "glide/nature/b.png": ("real", "real", "", ""),
        "c.png": ("", "", "", ""),
    },
}


def grown(root: Path, paths: list[str]) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


@pytest.mark.parametrize("name", list(TREES))
@pytest.mark.parametrize("given_name", [True, False])
def test_every_image_of_a_benchmark_is_one_row_that_says_what_it_is(
    name: str, given_name: bool, tmp_path: Path
) -> None:
    tree = TREES[name]
    images = ImageSet.open(grown(tmp_path / "set", list(tree)), layout=name if given_name else None)
    assert images.layout == name and f"layout {name}" in repr(images)
    assert sorted(images.keys) == sorted(tree)
    for key, (label, generator, group, split) in tree.items():
        row = images.table.loc[key]
        assert (row["label"], row["generator"]) == (label, generator), key
        assert row["group"] == (group or key), key
        assert row.get("split", "") == split, key


def test_every_layout_has_a_miniature_and_a_line_in_the_documentation() -> None:
    assert set(TREES) == set(LAYOUTS)
    lines = (Path(__file__).parents[2] / "docs/data.md").read_text(encoding="utf-8").splitlines()
    rows = {line.split("|")[1].strip(" `") for line in lines if line.startswith("| `")}
    assert rows == {*LAYOUTS, "grip-list"}


PARTS = [
    *"abc",
    "train",
    "val",
    "ai",
    "nature",
    "0_real",
    "1_fake",
    "cat",
    "dalle2",
    "train2017",
    "real",
    "fake",
]
STEMS = ["x", "r000da54ft", "000000000025", "n01440764_1234", "033_sdv4_00134"]


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from(PARTS), max_size=4), st.sampled_from(STEMS)).map(
            lambda place: "/".join([*place[0], place[1] + ".png"])
        ),
        min_size=1,
        unique=True,
    ),
    st.sampled_from([None, *LAYOUTS]),
)
def test_whatever_lies_in_a_folder_becomes_one_row_each(keys: list[str], layout: str | None) -> None:
    try:
        _, table = read_layout(keys, Path("/no/such/set"), layout)
    except InputError as error:
        assert "lies as in the layout" in str(error)
    else:
        assert len(table) == len(keys) and set(table["label"]) <= {"real", "fake", ""}


def test_one_photograph_is_one_group_wherever_it_stands(tmp_path: Path) -> None:
    for name in ("genimage", "synthbuster", "drct-2m"):
        images = ImageSet.open(grown(tmp_path / name, list(TREES[name])))
        stems = images.keys.str.extract(r"/(n\d+_\d+|ILSVRC\w+|r\w{8}t|\d{12})[^/]*$")[0]
        named = images.table.assign(stem=stems.to_numpy()).dropna(subset="stem")
        assert named.groupby("stem")["group"].nunique().eq(1).all()
        assert named.groupby("group")["stem"].nunique().eq(1).all()
        assert named["stem"].duplicated().any()


@pytest.mark.parametrize(
    "inner", ["Midjourney", "Midjourney/imagenet_midjourney", "Midjourney/imagenet_midjourney/val"]
)
def test_a_part_of_a_benchmark_opens_as_the_whole_does(inner: str, tmp_path: Path) -> None:
    root = grown(
        tmp_path,
        ["Midjourney/imagenet_midjourney/val/ai/x.png", "Midjourney/imagenet_midjourney/val/nature/y.JPEG"],
    )
    images = ImageSet.open(root / inner)
    assert images.layout == "genimage"
    assert images.table["generator"].tolist() == ["midjourney", "real"]
    assert set(images.table["split"]) == {"val"}


def test_progans_categories_are_no_generators(tmp_path: Path) -> None:
    grown(tmp_path, [f"dataset/train/{name}/1_fake/1.png" for name in ("airplane", "train")])
    images = ImageSet.open(tmp_path / "dataset/train")
    assert set(images.table["generator"]) == {"progan"} and set(images.table["split"]) == {"train"}
    assert images.table["object_class"].tolist() == ["airplane", "train"]
    grown(tmp_path, ["cyclegan/apple/1_fake/1.png"])
    assert ImageSet.open(tmp_path / "cyclegan").table["generator"].tolist() == ["cyclegan"]


def test_an_image_without_a_place_is_unlabelled_and_counted(tmp_path: Path) -> None:
    root = grown(
        tmp_path / "set",
        [f"dalle2/r000da5{i:02d}t.png" for i in range(18)] + ["real_RAISE_1k/r000da54ft.png"],
    )
    grown(root, ["flux/r000da54ft.png"])
    images = ImageSet.open(root)
    assert images.layout == "synthbuster"
    assert images.table.loc["flux/r000da54ft.png", ["label", "generator"]].tolist() == ["", ""]
    assert "1 unlabelled" in repr(images)
    grown(root, [f"flux/{i}.png" for i in range(9)])
    assert ImageSet.open(root).layout == "general"


def test_layouts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    root = grown(tmp_path / "set", ["glide/a.png"])
    with pytest.raises(InputError, match=r"lies as in the layout 'drct-2m'.*glide/a\.png.*'general'"):
        ImageSet.open(root, layout="drct-2m")
    with pytest.raises(InputError, match="did you mean 'genimage'"):
        ImageSet.open(root, layout="gen-image")
    (root / "manifest.csv").write_text("path\nglide/a.png\n")
    assert ImageSet.open(root).layout == "manifest"
    assert ImageSet.open(root, layout="general").layout == "general"
    with pytest.raises(InputError, match="read as a manifest"):
        ImageSet.open(root / "manifest.csv", layout="general")


def test_two_layouts_that_disagree_leave_the_general_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    for label in ("real", "fake"):
        rival = Layout(label, "", each(lambda image, label=label: {"label": label}))
        monkeypatch.setitem(LAYOUTS, label, rival)
    assert read_layout(["glide/a.png"], Path("/no/such/set"), None)[0] == "general"


def test_ones_own_layout_is_a_function(tmp_path: Path) -> None:
    root = grown(tmp_path, ["glide-0042.png", "photo-0042.png"])
    mine = Layout(
        "mine",
        "GENERATOR-PHOTOGRAPH.png",
        each(lambda image: {"generator": image.stem[:5].replace("photo", "real"), "group": image.stem[6:]}),
    )
    images = ImageSet.open(root, layout=mine)
    assert images.layout == "mine" and images.table["label"].tolist() == ["fake", "real"]
    assert set(images.table["group"]) == {"0042"}


def test_a_folder_of_parquet_files_says_where_to_go(tmp_path: Path) -> None:
    (tmp_path / "train-00000.parquet").touch()
    with pytest.raises(InputError, match="from_hugging_face"):
        ImageSet.open(tmp_path)


def test_the_root_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown(tmp_path, ["glide/val/ai/a.png"])
    monkeypatch.chdir(tmp_path / "glide")
    assert os.getcwd().endswith("glide")
    assert ImageSet.open(".").table["generator"].tolist() == ["glide"]
