"""Train the small CLIP that ships with the package, from nothing, on 64-pixel photographs and their WordNet names.

    python experiments/pretrain_embedded_clip.py --data tiny-imagenet \
        --teacher deit-tiny --out runs/embedded --export runs/embedded/model

Cross-entropy over the text embeddings of all class names, which are made anew and learn in each step, to labels and
an ImageNet classifier's opinion in equal parts; contrastive losses with several true captions for names,
super-category words and degradations; and a linear head, dropped afterwards, that copies that classifier. The picture
grows from 32 over 48 to 64 pixels. A run that was stopped goes on where its last checkpoint stood; a file
STOP_AND_ANNEAL in `out` brings the rate to zero within five minutes. Photographs are read from train-*.parquet and
val.parquet with columns image, wnid and words.
"""

from __future__ import annotations

import torch
import tyro

from experiments.embedded_model import export
from experiments.embedded_training import Settings, Training


def main(settings: Settings) -> None:
    """Train, or go on training, and export."""
    torch.set_num_threads(settings.threads)
    training = Training(settings)
    plan = training.schedule
    print(f"at most {plan.longest} steps of {settings.batch} images; at step {plan.step}", flush=True)
    if settings.export_only or training.run():
        if settings.export:
            export(training.model, training.better_weights(), training.tokenizer, settings.export)
        if not settings.export_only:
            (settings.out / "DONE").touch()


if __name__ == "__main__":
    main(tyro.cli(Settings))
