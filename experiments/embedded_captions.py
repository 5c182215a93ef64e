"""What the captions of `pretrain_embedded_clip.py` say: names, super-category words, and how a picture was degraded.

A caption says a class, a super-category or nothing of the subject, and none or some of the degradations. It is true of
an image that shows the subject and has at least the degradations said. Super-category words are said of 150 classes
only, so that the other 50 can tell whether the words carry over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TEMPLATES = (
    "a photo of {a}",
    "a photo of {a}",
    "a picture of {a}",
    "an image of {a}",
    "a photograph of {a}",
    "a small photo of {a}",
    "a photo of the {}",
    "{a}",
    "{}",
)
SAID_TEMPLATES = ("a {said} photo of {a}", "a {said} photo of {a}", "a {said} picture of {a}", "{a}, {said}")
BARE_TEMPLATES = ("a {said} photo", "a {said} photo", "a {said} picture", "a {said} image", "{said}")
FIELDS: dict[str, tuple[str, ...]] = {
    "blurry": ("blurry", "blurry", "blurred", "out-of-focus"),
    "compressed": ("compressed", "jpeg-compressed", "heavily compressed"),
    "noisy": ("noisy", "noisy", "grainy"),
    "upscaled": ("upscaled", "upscaled", "low-resolution", "enlarged"),
    "dark": ("dark", "dark", "underexposed"),
    "bright": ("bright", "bright", "overexposed"),
    "grey": ("grey", "gray", "black-and-white", "monochrome"),
    "clean": ("clean", "sharp", "clear"),
}
FIELD_NAMES = tuple(FIELDS)
CLEAN = FIELD_NAMES.index("clean")
BLURRY, UPSCALED = FIELD_NAMES.index("blurry"), FIELD_NAMES.index("upscaled")

# Words true of several classes, by the first synonym of the class; a class may be listed under more than one word.
SUPER_CATEGORIES: dict[str, str] = {
    "dog": "chihuahua|yorkshire terrier|golden retriever|labrador retriever|german shepherd|standard poodle",
    "cat": "tabby|persian cat|egyptian cat|cougar|lion",
    "mammal": "koala|dugong|brown bear|guinea pig|hog|ox|bison|bighorn|gazelle|arabian camel|orangutan|chimpanzee|"
    "baboon|african elephant|lesser panda|*dog|*cat",
    "bird": "goose|black stork|king penguin|albatross",
    "fish": "goldfish",
    "reptile": "american alligator|boa constrictor",
    "amphibian": "european fire salamander|bullfrog|tailed frog",
    "insect": "ladybug|fly|bee|grasshopper|walking stick|cockroach|mantis|dragonfly|monarch|sulphur butterfly",
    "invertebrate": "jellyfish|brain coral|snail|slug|sea slug|american lobster|spiny lobster|sea cucumber|trilobite|"
    "scorpion|black widow|tarantula|centipede|*insect",
    "animal": "*mammal|*bird|*fish|*reptile|*amphibian|*invertebrate",
    "car": "beach wagon|convertible|limousine|sports car",
    "vehicle": "bullet train|freight car|go-kart|gondola|jinrikisha|lifeboat|moving van|police van|school bus|tractor|"
    "trolleybus|*car",
    "shop": "barbershop|butcher shop|confectionery",
    "bridge": "steel arch bridge|suspension bridge|viaduct",
    "building": "barn|beacon|cliff dwelling|obelisk|triumphal arch|water tower|thatch|birdhouse|altar",
    "structure": "dam|fountain|flagpole|maypole|pole|picket fence|bannister|turnstile|crane|*bridge|*building",
    "clothing": "academic gown|apron|bikini|bow tie|cardigan|christmas stocking|fur coat|kimono|military uniform|"
    "miniskirt|poncho|sandal|sock|sombrero|swimming trunks|vestment|sunglasses|neck brace|gasmask",
    "furniture": "chest|desk|dining table|rocking chair|lampshade|bathtub",
    "device": "cd player|ipod|remote control|computer keyboard|cash machine|pay-phone|parking meter|refrigerator|"
    "space heater|sewing machine|scoreboard|stopwatch|magnetic compass|hourglass",
    "instrument": "oboe|organ|drumstick",
    "ball": "basketball|rugby ball|volleyball",
    "sports equipment": "dumbbell|punching bag|snorkel|*ball",
    "bottle": "beer bottle|pill bottle|pop bottle",
    "container": "barrel|beaker|bucket|teapot|water jug|backpack|*bottle",
    "cookware": "frying pan|wok|wooden spoon|plate",
    "weapon": "cannon|projectile",
    "tool": "broom|nail|plunger|syringe|torch|chain|reel|binoculars|abacus|umbrella|candle|potter's wheel|lawn mower",
    "fruit": "orange|lemon|banana|pomegranate",
    "vegetable": "cauliflower|bell pepper|mushroom",
    "food": "guacamole|ice cream|ice lolly|pretzel|mashed potato|meat loaf|pizza|potpie|espresso|*fruit|*vegetable",
    "landscape": "alp|cliff|coral reef|lakeside|seashore",
}
SUPER_WORDS = tuple(SUPER_CATEGORIES)
HELD_OUT_CLASSES = 50


def synonyms(words: str) -> tuple[str, ...]:
    """WordNet's comma-separated synonyms, in lower case."""
    return tuple(word.strip().lower() for word in words.split(","))


def members(word: str) -> set[str]:
    """First synonyms of the classes that a super-category word is true of; `*word` stands for another's members."""
    found: set[str] = set()
    for name in SUPER_CATEGORIES[word].split("|"):
        found |= members(name[1:]) if name.startswith("*") else {name}
    return found


def super_table(words: tuple[str, ...]) -> np.ndarray:
    """(classes, super words) bool: which word is true of which class."""
    first = [synonyms(w)[0] for w in words]
    return np.array([[name in members(word) for word in SUPER_WORDS] for name in first])


def held_out(words: tuple[str, ...], random_state: int = 0) -> np.ndarray:
    """(classes,) bool: the 50 classes of which no super-category word is said, spread over the words.

    Classes are grouped by their narrowest word and shuffled within the group; those that come first, as a share of
    their group, are held out.
    """
    table = super_table(words)
    rng = np.random.default_rng(random_state)
    order = np.full(len(words), np.inf)
    narrowest = np.where(table.any(1), np.where(table, table.sum(0), np.inf).argmin(1), -1)
    for group in range(len(SUPER_WORDS)):
        rows = np.flatnonzero(narrowest == group)
        if len(rows) > 1:
            order[rng.permutation(rows)] = (np.arange(len(rows)) + 0.5) / len(rows)
    out = np.zeros(len(words), dtype=bool)
    out[np.argsort(order + rng.uniform(0, 1e-6, len(words)), kind="stable")[:HELD_OUT_CLASSES]] = True
    return out


def with_article(name: str) -> str:
    """The name after "a" or "an"."""
    return ("an " if name[0] in "aeiou" else "a ") + name


def caption(template: str, name: str = "", said: str = "") -> str:
    """A template filled in: `{}` the name, `{a}` the name with its article, `{said}` the degradations."""
    filled = template.format(name, a=with_article(name) if name else "", said=said)
    return f"an {filled[2:]}" if filled.startswith("a ") and filled[2:3] in "aeiou" else filled


def class_caption(words: str, rng: np.random.Generator) -> str:
    """One caption of a class: its first synonym six times of ten, and a drawn template."""
    names = synonyms(words)
    name = names[0] if rng.random() < 0.6 else names[rng.integers(len(names))]
    return caption(TEMPLATES[rng.integers(len(TEMPLATES))], name)


def plain_captions(words: tuple[str, ...]) -> list[str]:
    """The zero-shot prompt of each class, "a photo of a" and its first synonym."""
    return [f"a photo of {with_article(synonyms(w)[0])}" for w in words]


def every_text(words: tuple[str, ...]) -> list[str]:
    """Texts that hold every word a caption can say, to learn the tokenizer's pieces from."""
    names = [name for w in words for name in synonyms(w)] + list(SUPER_WORDS)
    said = [phrase for phrases in FIELDS.values() for phrase in phrases]
    return (
        [caption(t, name) for name in names for t in TEMPLATES]
        + [caption(t, name, s) for name in names[::7] for s in said for t in SAID_TEMPLATES]
        + [caption(t, "", s) for s in said for t in BARE_TEMPLATES]
    )


@dataclass(frozen=True)
class CaptionGroup:
    """Captions that compete with one another, and what is known of them for each image.

    Attributes:
        texts: the captions.
        true: (texts, images) bool, the caption is true of the image.
        known: (texts, images) bool, false where nobody can say, so that the pair counts for nothing.
    """

    texts: list[str]
    true: np.ndarray
    known: np.ndarray


def phrase(field: int, rng: np.random.Generator) -> str:
    """One wording of a degradation."""
    wordings = FIELDS[FIELD_NAMES[field]]
    return wordings[rng.integers(len(wordings))]


def field_group(has: np.ndarray, unsure: np.ndarray, rng: np.random.Generator) -> CaptionGroup:
    """One caption for each degradation and nothing else; `has`, `unsure` are (images, fields) bool."""
    texts = [
        caption(BARE_TEMPLATES[rng.integers(len(BARE_TEMPLATES))], "", phrase(f, rng))
        for f in range(len(FIELDS))
    ]
    return CaptionGroup(texts, has.T, (has | ~unsure).T)


def super_group(
    labels: np.ndarray, table: np.ndarray, out: np.ndarray, rng: np.random.Generator
) -> CaptionGroup:
    """One caption for each super-category word; images of held-out classes, or of no word, are not known."""
    texts = [caption(TEMPLATES[rng.integers(len(TEMPLATES))], word) for word in SUPER_WORDS]
    true = table[labels].T
    known = np.broadcast_to(~out[labels] & table[labels].any(1), true.shape)
    return CaptionGroup(texts, true & known, known)


def said_group(
    labels: np.ndarray,
    words: tuple[str, ...],
    has: np.ndarray,
    unsure: np.ndarray,
    rng: np.random.Generator,
    images: int = 32,
) -> CaptionGroup:
    """For some images, a caption that says class and degradation, and its twin with a degradation it has not."""
    rows = rng.choice(len(labels), min(images, len(labels)), replace=False)
    texts, true, known = [], [], []
    for row in rows:
        present, absent = np.flatnonzero(has[row]), np.flatnonzero(~has[row] & ~unsure[row])
        names = synonyms(words[labels[row]])
        for choice in (present, absent):
            if len(choice) == 0:
                continue
            many = 2 if len(choice) > 1 and choice is present and rng.random() < 0.3 else 1
            fields = rng.choice(choice, many, replace=False)
            said = ", ".join(phrase(f, rng) for f in fields)
            name = names[0] if rng.random() < 0.6 else names[rng.integers(len(names))]
            texts.append(caption(SAID_TEMPLATES[rng.integers(len(SAID_TEMPLATES))], name, said))
            same = labels == labels[row]
            true.append(same & has[:, fields].all(1))
            known.append(~same | ~(unsure & ~has)[:, fields].any(1))
    return CaptionGroup(texts, np.array(true), np.array(known))
