"""What the paths of the field's public benchmarks say: one function for each, from one image's path to a row.

Each function returns None for an image that has no place in the benchmark, so that nothing is labelled by
guess. "Verified" below means read in the benchmark's own repository; all else is inferred and says so.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

Row = dict[str, str]
"""What a path says: `label`, `generator`, `group`, `split` and whatever else the benchmark knows, as text."""


@dataclass(frozen=True)
class ImagePath:
    """An image's path in parts: the last folders of the set's root, the folders below it, the name's stem.

    >>> ImagePath(("data", "synthbuster"), ("dalle2",), "r000da54ft").all
    ('data', 'synthbuster', 'dalle2')
    """

    root: tuple[str, ...]
    folders: tuple[str, ...]
    stem: str

    @property
    def all(self) -> tuple[str, ...]:
        """Every folder, from the root's to the one the image lies in."""
        return self.root + self.folders


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FAMILIES = {
    "gan": "biggan cyclegan gaugan progan stargan stylegan stylegan2 whichfaceisreal",
    "diffusion": "adm glide guided vqdm wukong stable-diffusion-1.4 stable-diffusion-1.5 stable-diffusion-1-3 "
    "stable-diffusion-1-4 stable-diffusion-2 stable-diffusion-xl ldm_100 ldm_200 ldm_200_cfg "
    "glide_100_10 glide_100_27 glide_50_27",
    "commercial": "midjourney midjourney-v5 dalle2 dalle3 firefly",
    "autoregressive": "dalle",  # DALL-E mini
    "perceptual-loss": "crn imle",
    "low-level": "san seeingdark",
    "deepfake": "deepfake",
}
FAMILY = {generator: family for family, names in _FAMILIES.items() for generator in names.split()}
"""Family of the generators that the benchmarks below name."""

_GENIMAGE = {
    "midjourney": "midjourney",
    "stablediffusionv14": "stable-diffusion-1.4",
    "sdv14": "stable-diffusion-1.4",
    "sdv4": "stable-diffusion-1.4",
    "stablediffusionv15": "stable-diffusion-1.5",
    "sdv15": "stable-diffusion-1.5",
    "sdv5": "stable-diffusion-1.5",
    "adm": "adm",
    "glide": "glide",
    "wukong": "wukong",
    "vqdm": "vqdm",
    "biggan": "biggan",
}
_GENIMAGE_NAME = re.compile(r"(?:.*_)?(\d+)_(midjourney|sdv4|sdv5|adm|glide|wukong|vqdm|biggan)_\d+", re.I)
_IMAGENET = re.compile(r"(n\d{8})_\d+|ILSVRC2012_val_\d{8}")


def genimage(image: ImagePath) -> Row | None:
    """GenImage (Zhu et al., 2023): `GENERATOR/[imagenet_ai_…/]{train,val}/{ai,nature}/file`.

    Verified: `ai` and `nature` below `train` and `val`; the eight folders' short names (README), their archive
    names `imagenet_ai_0419_sdv4` … (lists of damaged files), and names such as `033_sdv4_00134.png` and
    `GLIDE_1000_200_08_808_glide_00033.png`, which carry the class index and the generator. Inferred:
    `nature` files keep their ImageNet names (`n01440764_1234`, `ILSVRC2012_val_00000744`). A photograph's
    name is its group, because the same one may stand beside several generators.
    """
    parts = [name.lower() for name in image.all]
    ends = [
        i for i in range(1, len(parts)) if parts[i] in ("ai", "nature") and parts[i - 1] in ("train", "val")
    ]
    if not ends:
        return None
    end = ends[-1]
    named = _GENIMAGE_NAME.fullmatch(image.stem)
    above = [_genimage_generator(name) for name in reversed(parts[: end - 1])]
    below_root = image.all[len(image.root) : end - 1]
    generator = next((name for name in above if name), "") or (_GENIMAGE[named[2].lower()] if named else "")
    generator = generator or (below_root[0] if below_root else "")
    row = {"split": parts[end - 1], "source": generator, "object_class": named[1] if named else ""}
    if parts[end] == "ai":
        return row | {"label": "fake", "generator": generator}
    photograph = _IMAGENET.fullmatch(image.stem)
    if photograph:
        row |= {"group": image.stem, "object_class": photograph[1] or ""}
    return row | {"label": "real"}


@functools.cache
def _genimage_generator(folder: str) -> str:
    letters = re.sub(r"[^a-z0-9]", "", folder)
    return next((name for end, name in _GENIMAGE.items() if letters.endswith(end)), "")


_GANS = _names(
    "progan cyclegan biggan stylegan stylegan2 gaugan stargan deepfake seeingdark san crn imle whichfaceisreal"
)
_DIFFUSION = _names(
    "guided ldm_100 ldm_200 ldm_200_cfg glide_100_10 glide_100_27 glide_50_27 dalle imagenet laion"
)
_PROGAN_CATEGORIES = _names(
    "airplane bird bicycle boat bottle bus car cat cow chair diningtable dog person pottedplant motorbike "
    "tvmonitor train sheep sofa horse"
)
_CATEGORIES = _PROGAN_CATEGORIES | _names("apple orange summer winter zebra bedroom church")
_PAIRED = {"crn": "gta", "imle": "gta", "san": "san", "seeingdark": "seeingdark"}
_SPLIT = re.compile(r"(?:progan_|.*_)?(train|val|test)(?:set)?", re.I)


def cnndetection(image: ImagePath) -> Row | None:
    """ForenSynths (Wang et al., 2020): `[train|val|test]/SET/[CATEGORY]/{0_real,1_fake}/file`.

    Verified: the 13 sets, `0_real` and `1_fake`, the categories in between; that ProGAN alone has training and
    validation images, whose folders are 20 categories, and that all other sets are for testing. Inferred: in
    crn and imle (drawn from one video game), san and seeingdark, an image and its source share their file
    name, so that name is their group.
    """
    if not image.folders or image.all[-1] not in ("0_real", "1_fake"):
        return None
    below = [name.lower() for name in image.folders[:-1]]
    root = [name.lower() for name in image.root]
    category = ""
    if below and below[-1] in _CATEGORIES:
        inside = len(below) > 1 or bool(root and (_SPLIT.fullmatch(root[-1]) or root[-1] == "progan"))
        if below[-1] != "train" or inside:  # ProGAN has a category of this name
            category = below.pop()
    splits = [found[1] for name in [*root[-1:], *below] if (found := _SPLIT.fullmatch(name))]
    sets = [name for name in below if not _SPLIT.fullmatch(name) and name != "diffusion_datasets"]
    known = [name for name in sets if name in _GANS | _DIFFUSION]
    above = [name for name in reversed(root) if name in _GANS | _DIFFUSION]
    subset = ([*known, *sets] or above or [""])[0]
    if not subset and category:
        subset = "progan" if splits and category in _PROGAN_CATEGORIES else category
    tested = subset in (_GANS | _DIFFUSION) - {"progan"}
    row = {
        "split": splits[-1] if splits else "test" if tested else "",
        "source": subset,
        "object_class": category,
    }
    if subset in _PAIRED:
        row["group"] = f"{_PAIRED[subset]}/{image.stem}"
    return row | ({"label": "real"} if image.all[-1] == "0_real" else {"label": "fake", "generator": subset})


def universalfakedetect(image: ImagePath) -> Row | None:
    """The diffusion sets of UniversalFakeDetect (Ojha et al., 2023): `SET/1_fake/file`, `imagenet|laion/0_real/file`.

    Verified: the eight sets and the two folders of photographs, which the sets share: imagenet beside guided,
    laion beside all others (`source` names them). Its GAN sets are those of `cnndetection`.
    """
    row = cnndetection(image)
    return row if row and row["source"] in _DIFFUSION else None


_SYNTHBUSTER = _names(
    "dalle2 dalle3 firefly glide midjourney-v5 stable-diffusion-1-3 stable-diffusion-1-4 stable-diffusion-2 "
    "stable-diffusion-xl"
)
_RAISE_FOLDERS = _names("real_raise_1k raise-1k raise_1k raise1k raise")
_RAISE = re.compile(r"r[0-9a-f]{8}t")


def raise_photograph(stem: str) -> str:
    """The RAISE photograph that a file name stands for, or "".

    >>> raise_photograph("r000da54ft"), raise_photograph("cat")
    ('r000da54ft', '')
    """
    return stem if _RAISE.fullmatch(stem) else ""


def synthbuster(image: ImagePath) -> Row | None:
    """Synthbuster (Bammey, 2023) with RAISE-1k: `GENERATOR/r000da54ft.png`, `real_RAISE_1k/r000da54ft.png`.

    Verified: the folders of the generators and of the photographs, and that an image carries the name of the
    photograph it was prompted with; so that name is the group of both. Folders of other names have no place.
    """
    folder = image.all[-1].lower() if image.all else ""
    if not raise_photograph(image.stem) or folder not in _SYNTHBUSTER | _RAISE_FOLDERS:
        return None
    row = {"group": image.stem, "source": folder}
    return row | ({"label": "fake", "generator": folder} if folder in _SYNTHBUSTER else {"label": "real"})


_DRCT = _names(
    "ldm-text2im-large-256 stable-diffusion-v1-4 stable-diffusion-v1-5 stable-diffusion-2-1 "
    "stable-diffusion-xl-base-1.0 stable-diffusion-xl-refiner-1.0 sd-turbo sdxl-turbo lcm-lora-sdv1-5 "
    "lcm-lora-sdxl sd-controlnet-canny sd21-controlnet-canny controlnet-canny-sdxl-1.0 "
    "stable-diffusion-inpainting stable-diffusion-2-inpainting stable-diffusion-xl-1.0-inpainting-0.1"
)
_COCO = re.compile(r"(\d{12})(?:\D.*)?")


def drct(image: ImagePath) -> Row | None:
    """DRCT-2M (Chen et al., 2024): `GENERATOR/{train2017,val2017}/file`, `MSCOCO/{train2017,val2017}/file`.

    Verified: the 16 generators, the folders, that val2017 is the test set (train2017 is cut into train and
    validation by a seed, in code), and names such as `000000000025.jpg`. Inferred: the number is the COCO
    photograph whose caption or pixels the image was made from, and is the group of both. Reconstructions
    (`full_inpainting` and the like) have no place: whether they count as generated is the experiment's choice.
    """
    if len(image.all) < 2 or image.all[-1] not in ("train2017", "val2017"):
        return None
    folder = image.all[-2].lower()
    photographs = folder in ("mscoco", "coco", "coco2017")
    if not photographs and folder not in _DRCT:
        return None
    number = _COCO.fullmatch(image.stem)
    row = {"split": "train" if image.all[-1] == "train2017" else "test", "source": folder}
    row["group"] = f"coco/{number[1]}" if number else ""
    return row | (
        {"label": "real"} if photographs else {"label": "fake", "generator": folder, "family": "diffusion"}
    )


def community_forensics(image: ImagePath) -> Row | None:
    """Community Forensics (Park and Owens, 2025) as folders: `GENERATOR_OR_DATASET/{real,fake}/file`.

    Verified: this is what its loader reads beside its Parquet release (for which see `from_hugging_face`).
    """
    if (
        len(image.folders) != 2
        or image.folders[1] not in ("real", "fake")
        or _SPLIT.fullmatch(image.folders[0])
    ):
        return None
    source, label = image.folders
    return {"label": label, "generator": source if label == "fake" else "", "source": source}
