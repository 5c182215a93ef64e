"""What every laundering step is: a frozen specification with a short text, and a map of RGB images."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from PIL import Image

from interp.errors import InputError
from interp.images.launder_parameters import as_kind, draw_number, fault, number_text, read_number


@dataclass(frozen=True)
class Step(ABC):
    """One thing that happens to an image on its way; `NAME:VALUE:…` is its text.

    A subclass is a frozen dataclass whose fields are made with `number` and `word`. Numbers stand in the order of
    the fields; words are known by themselves and may stand anywhere; a default may be left out.

    Attributes:
        name: first word of the text.
        example: a text that can be read, for error messages.

    Raises:
        InputError: a value outside its limits.
    """

    name: ClassVar[str]
    example: ClassVar[str]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            wrong = fault(getattr(self, field.name), field.metadata)
            if wrong:
                raise InputError(
                    f"cannot launder with {self.name}: {field.name} {wrong}; got {_shown(getattr(self, field.name))}. "
                    f"Write {self.form()}, for example {self.example!r}"
                )
            if "choices" not in field.metadata:
                kind = int if field.metadata["whole"] else float
                object.__setattr__(self, field.name, as_kind(getattr(self, field.name), kind))

    @classmethod
    def read(cls, given: str) -> Self:
        """Read what follows the name and its colon.

        Raises:
            InputError: a value that is unknown, missing, outside its limits, or too many.
        """
        left = {field.name: field for field in dataclasses.fields(cls)}
        values = {}
        for part in given.lower().split(":") if given else []:
            named = [n for n, f in left.items() if part in f.metadata.get("choices", ())]
            numbers = [n for n, f in left.items() if "choices" not in f.metadata]
            field = next(iter(named or numbers), None)
            value = part if named or field is None else read_number(part)
            if field is None or value is None:
                raise InputError(
                    f"cannot read {part!r} in {cls.name + ':' + given!r}; write {cls.form()}, "
                    f"for example {cls.example!r}"
                )
            values[field] = value
            del left[field]
        missing = [n for n, f in left.items() if f.default is dataclasses.MISSING]
        if missing:
            raise InputError(
                f"{cls.name} needs {', '.join(missing)}; write {cls.form()}, for example {cls.example!r}"
            )
        return cls(**values)

    @classmethod
    def form(cls) -> str:
        """How the text is written, with what may be left out in brackets."""
        parts = [cls.name]
        for field in dataclasses.fields(cls):
            choices = field.metadata.get("choices")
            part = ":" + ("|".join(choices) if choices else field.name.upper())
            parts.append(part if field.default is dataclasses.MISSING else f"[{part}]")
        return "".join(parts)

    def __str__(self) -> str:
        """The shortest text that reads back as this step."""
        numbers, words = [], []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            group = words if "choices" in field.metadata else numbers
            group.append(("" if value == field.default else "!") + _shown(value))
        while numbers and numbers[-1][0] != "!":  # defaults at the end are left out
            numbers.pop()
        kept = [part.removeprefix("!") for part in numbers] + [part[1:] for part in words if part[0] == "!"]
        return ":".join([self.name, *kept])

    def draw(self, rng: np.random.Generator) -> tuple[Step, ...]:
        """The steps that one image gets: this one with every range and choice drawn."""
        drawn = {
            field.name: draw_number(getattr(self, field.name), rng)
            for field in dataclasses.fields(self)
            if "choices" not in field.metadata
        }
        return (dataclasses.replace(self, **drawn),)

    @abstractmethod
    def apply(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """The laundered image.

        Args:
            image: in mode RGB.
            rng: of the noise that the step adds.

        Raises:
            UnreadableImage: this image cannot go through, such as one that is too large for a format.
        """


@dataclass(frozen=True)
class Sometimes:
    """Steps that an image takes together or not at all; written `STEP@CHANCE` or `(STEP+STEP)@CHANCE`.

    Raises:
        InputError: no step, or a chance that is not between 0 and 1.
    """

    steps: tuple[Step, ...]
    chance: float

    def __post_init__(self) -> None:
        if not self.steps or not 0 < self.chance < 1:
            raise InputError(
                f"steps are taken with a chance between 0 and 1; got {self.chance} for "
                f"{' and '.join(map(str, self.steps)) or 'no step'}. Write for example 'jpeg:75@0.5'"
            )

    def __str__(self) -> str:
        steps = "+".join(map(str, self.steps))
        return f"{steps if len(self.steps) == 1 else f'({steps})'}@{number_text(self.chance)}"

    def draw(self, rng: np.random.Generator) -> tuple[Step, ...]:
        """The steps with their numbers drawn, or none of them."""
        if rng.random() >= self.chance:
            return ()
        return tuple(drawn for step in self.steps for drawn in step.draw(rng))


def _shown(value: object) -> str:
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return number_text(float(value)) if is_number else str(value)  # pyright: ignore[reportArgumentType]
