"""What the atlas knows of the heads of one run: measures, transfer, words, images, attention, and the removal curve."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from interp.encoders.encoder import Encoder
from interp.encoders.layout import HeadLayout
from interp.errors import InputError
from interp.evaluation.effect_table import RELIABLE
from interp.explain.in_words import describe_heads
from interp.explain.named_directions import extremes
from interp.explain.text_encoder import TextEncoder
from interp.features.provenance import differences
from interp.features.shards import KEY
from interp.features.store import FeatureStore
from interp.images.equalize import Equalize
from interp.images.image_set import ImageSet
from interp.images.views import VIEW_OF
from interp.report.atlas_measures import MEASURES, Measure, head_scores, removal_curve, tables_of
from interp.report.atlas_pictures import AttentionMap, attention_maps, refuse_strangers, thumbnails


@dataclass(frozen=True)
class HeadAtlas:
    """All that a page about the heads of one run shows.

    Attributes:
        name: what to call the run.
        encoder: name of the encoder.
        layout: layers and heads.
        about: sentences on what the numbers stand on.
        measures: what heads can be coloured by, in order; each is a column of `table`.
        table: indexed by head: the measures, some with their `_low` and `_high`.
        transfer: indexed by head: transfer AUC, a column for each generator that selected; empty without a ranking.
        words: head, rank, phrase, explained, so_far, null_so_far, and `reliable` where phrases were tried; empty
            without a text tower.
        extremes: head, end ("+" or "-"), rank, key, score, label, generator.
        scored_by: what the score in `extremes` is.
        pictures: data URIs by row key; empty without images.
        attention: by head, where it reads in its first image of `extremes`; empty without images and encoder.
        curve: AUC along the removal of coordinates; see `interp.report.atlas_measures.removal_curve`.
    """

    name: str
    encoder: str
    layout: HeadLayout
    about: tuple[str, ...]
    measures: tuple[Measure, ...]
    table: pd.DataFrame
    transfer: pd.DataFrame
    words: pd.DataFrame
    extremes: pd.DataFrame
    scored_by: str
    pictures: dict[str, str]
    attention: dict[str, AttentionMap]
    curve: pd.DataFrame

    def __repr__(self) -> str:
        held = [f"{len(self.measures)} measures", f"{len(self.pictures)} pictures"]
        held += [f"words of {self.words['head'].nunique()} heads"] if len(self.words) else ["no words"]
        return f"HeadAtlas({self.name}: {self.layout.n_heads} heads of {self.encoder}, {', '.join(held)})"


def head_atlas(
    run: str | Path,
    *,
    store: FeatureStore | str | Path | None = None,
    images: ImageSet | None = None,
    encoder: Encoder | None = None,
    texts: TextEncoder | None = None,
    phrases: Sequence[str] | None = None,
    measures: pd.DataFrame | None = None,
    top: int = 4,
    words: int = 8,
    nulls: int = 20,
    random_state: int = 0,
    progress: bool = True,
) -> HeadAtlas:
    """Gather what a finished run, or a store alone, says of every head.

    Args:
        run: folder of a run; or of a store, which has no ranking, detector and removal curve.
        store: the store of a run that was evaluated elsewhere; by default the one inside the run's folder.
        images: the images that the store was extracted from, to show small pictures of them.
        encoder: the store's encoder, for attention maps; it passes once over one image for each head.
        texts: the text tower of that encoder, for words.
        phrases: what words are chosen from; by default those that the tower was tried with, or else the whole pool.
        measures: further numbers to colour by, indexed by head, such as the total effects of
            `interp.evaluation.effect_table.EffectTable.summary`.
        top: images shown for each end of a head.
        words: phrases for each head.
        nulls: rotations of the phrases that a head's words are held against.
        random_state: seed of these.
        progress: show bars.

    Raises:
        InputError: there is no run or store, they do not belong together, images of which the store has no row, an
            encoder of another layout, or measures of other heads.
    """
    run = Path(run)
    opened = _store_of(run, store)
    layout, equalize = opened.layout, Equalize.parse(opened.key["equalize"])
    if encoder is not None and (moved := differences(opened.key["encoder"], encoder.provenance["encoder"])):
        raise InputError(f"{encoder!r} is not the encoder of {opened.folder}: {'; '.join(moved)}")
    table, transfer = tables_of(run, opened)
    if measures is not None:
        table = table.join(_further(measures, layout))
    scores, scored_by = head_scores(run, opened)
    ends = []
    for i, head in enumerate(layout.names):
        ends.append(extremes(opened, scores[:, i], top).reset_index(names="key").assign(head=head))
    shown = pd.concat(ends, ignore_index=True)
    pictures, attention, said = {}, {}, pd.DataFrame()
    if texts is not None:
        about = describe_heads(
            opened, texts, k=words, phrases=phrases, nulls=nulls, random_state=random_state
        )
        said = about.table
    if images is not None:
        refuse_strangers(images, _whole(opened, opened.rows.index))
        shown["key"] = _whole(opened, shown["key"])
        pictures = thumbnails(images, shown["key"].unique(), equalize, progress=progress)
        if encoder is not None and opened.views == 1:
            first = shown[(shown["end"] == "+") & (shown["rank"] == 1)].set_index("head")["key"]
            attention = attention_maps(images, encoder, first.to_dict(), equalize, progress=progress)
    return HeadAtlas(
        name=run.resolve().name,
        encoder=str(opened.key["encoder"]["name"]),
        layout=layout,
        about=_about(run, opened),
        measures=_shown_measures(table),
        table=table,
        transfer=transfer,
        words=said,
        extremes=shown,
        scored_by=scored_by,
        pictures=pictures,
        attention=attention,
        curve=removal_curve(run),
    )


def _store_of(run: Path, store: FeatureStore | str | Path | None) -> FeatureStore:
    if (run / KEY).exists():
        return FeatureStore(run)
    if not (run / "run.json").exists():
        raise InputError(f"{run} holds no finished run (no run.json) and no store (no {KEY}); give either")
    opened = (
        store if isinstance(store, FeatureStore) else FeatureStore(run / "store" if store is None else store)
    )
    made = json.loads((run / "run.json").read_text())["store"]
    if moved := differences(opened.key, made):
        raise InputError(f"{opened.folder} is not the store of {run}: {'; '.join(moved)}")
    return opened


def _further(measures: pd.DataFrame, layout: HeadLayout) -> pd.DataFrame:
    strangers = sorted(set(map(str, measures.index)) - set(layout.names))
    if strangers or not measures.index.is_unique:
        raise InputError(
            f"measures are indexed by the heads of {layout}, each once; given {', '.join(strangers[:4]) or 'repeats'}"
        )
    return measures.select_dtypes("number").add_prefix("given_")


def _shown_measures(table: pd.DataFrame) -> tuple[Measure, ...]:
    """Those that are known, then those that were given: signed where they have negative values."""
    known = [one for one in MEASURES if one.name in table and table[one.name].notna().any()]
    given = [name for name in table if str(name).startswith("given_")]
    given = [name for name in given if not str(name).endswith(("_low", "_high", "_rank"))]
    known += [
        Measure(str(name), str(name).removeprefix("given_"), "as given", bool((table[name] < 0).any()))
        for name in given
    ]
    return tuple(known)


def _whole(store: FeatureStore, keys: Sequence[str] | pd.Index | pd.Series) -> list[str]:
    """Keys of whole images, where rows are views."""
    return list(store.rows[VIEW_OF].reindex(keys) if VIEW_OF in store.rows else keys)


def _about(run: Path, store: FeatureStore) -> tuple[str, ...]:
    rows = store.rows.loc[store.usable]
    counts = rows["label"].value_counts()
    fakes = rows.loc[rows["label"] == "fake", "generator"].nunique()
    said = [
        f"{len(rows)} images: {counts.get('real', 0)} photographs, {counts.get('fake', 0)} fakes of {fakes} "
        f"generators; equalisation {store.key['equalize']}, laundering {store.key.get('laundering', 'none')}"
    ]
    if (run / "summary.json").exists():
        found = json.loads((run / "summary.json").read_text())
        said = [f"WARNING: {warning}" for warning in found["warnings"]] + said
        said += [f"detector recommended by the run: {found['recommended']}"]
    if (run / "tables" / "ranking_per_split.csv").exists():
        splits = pd.read_csv(run / "tables" / "ranking_per_split.csv")
        seeds = splits.groupby(["head", "seed"])["transfer_auc"].mean().unstack()
        if seeds.shape[1] > 1 and len(seeds) > 2:
            rank = seeds.corr(method="spearman").to_numpy()
            mean = float(rank[np.triu_indices(len(rank), 1)].mean())
            advice = "heads may be named" if mean >= RELIABLE else "too low to name single heads"
            said.append(f"ranking by transfer: mean Spearman correlation over seeds {mean:.2f}, {advice}")
    return tuple(said)
