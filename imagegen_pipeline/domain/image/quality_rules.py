"""The rules of the quality checks: thresholds and severities.

Pure functions of an image's metrics and attempt. ``engine.quality_checker`` reads the files and
the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagegen_pipeline.domain.image.metrics import BLANK_CONTRAST

if TYPE_CHECKING:
    from imagegen_pipeline.domain.image.duplicate_detection import Match
    from imagegen_pipeline.domain.requests import Attempt

SAME_SHAPE = 0.02
"""Allowed relative difference of the aspect ratio: providers round sizes to steps of 8 to 64
pixels.
"""
LEAST_SHARPNESS = 4.0
"""Grey levels, see ``measure``. Photographs have 36 and more, simulated images 16; blurred by
0.6 % of their longer side (12 pixels of 1,920) all have 2 to 3.5.
"""
MOST_BORDER_CHROMA = 64.0
"""Grey levels. A grey backdrop has 0 to 2, light beige 25, tan 57; pink has 72, blue 140."""
MOST_BORDER_SPREAD = 24.0
"""Grey levels. Studio lighting has 5 to 21, an interior or a landscape 35 to 55."""
LISTED = 5
"""Number of duplicates that are listed, each with its preview."""


@dataclass(frozen=True, slots=True)
class QualityFinding:
    """The result of one check. ``grave``: a failure is an error, else a warning.

    ``sentence`` explains the result; ``numbers`` are the values and their thresholds by name.
    """

    check: str
    passed: bool
    sentence: str
    grave: bool = False
    numbers: Mapping[str, float | str] = field(default_factory=dict)
    duplicates: Sequence[Match] = ()


PICTURE_DECODES = "picture_decodes"
ASKED_SIZE = "asked_size"
NOT_BLANK = "not_blank"
NOT_A_DUPLICATE = "not_a_duplicate"
SHARP = "sharp"
NEUTRAL_BORDER = "neutral_border"
PORTRAIT_SHAPE = "portrait_shape"


def picture_decodes(proof: str = "", *, fault: str = "") -> QualityFinding:
    """Whether the image's file is intact: the evidence, or the fault."""
    return QualityFinding(PICTURE_DECODES, not fault, fault or proof, grave=True)


def unmeasured_findings(fault: str, *, base_image: bool) -> list[QualityFinding]:
    """Failures, with the reason, of the checks that need metrics."""
    checks = [(NOT_BLANK, True), (SHARP, False), (NOT_A_DUPLICATE, False)]
    if base_image:
        checks.append((NEUTRAL_BORDER, False))
    return [QualityFinding(name, False, f"Not measured: {fault}", grave) for name, grave in checks]


def asked_size(attempt: Attempt) -> QualityFinding:
    """Whether the image has the requested size.

    Another aspect ratio is an error: the image is cropped or stretched. The same ratio at another
    scale is a warning: the image can be resized.
    """
    asked = attempt.sent_request
    width, height = attempt.width or 0, attempt.height or 0
    numbers = {"asked": asked.size, "size": f"{width}x{height}"}
    if (width, height) == (asked.width, asked.height):
        return QualityFinding(
            ASKED_SIZE, True, f"It has the {asked.size} that were asked for.", True, numbers
        )
    requested, actual = asked.width / asked.height, width / max(1, height)
    other_shape = abs(actual / requested - 1) > SAME_SHAPE
    what = "another shape" if other_shape else "the same shape in another size"
    sentence = f"It has {width}x{height}, not {asked.size}: {what}."
    return QualityFinding(ASKED_SIZE, False, sentence, other_shape, numbers)


def not_blank(measures: Mapping[str, Any]) -> QualityFinding:
    """Whether the image has any content."""
    contrast, brightness = measures["contrast"], measures["brightness"]
    passed = contrast >= BLANK_CONTRAST
    numbers = {
        "contrast": contrast,
        "least contrast": BLANK_CONTRAST,
        "brightness": brightness,
    }
    shade = "black" if brightness < 16 else "white" if brightness > 240 else "one colour"
    sentence = f"Its contrast is {contrast:g} of 127; under {BLANK_CONTRAST:g} nothing is in it."
    if not passed:
        sentence = f"It is {shade} all over. {sentence}"
    return QualityFinding(NOT_BLANK, passed, sentence, True, numbers)


def sharp(measures: Mapping[str, Any]) -> QualityFinding:
    """Whether a part of the image is in focus."""
    value = measures["sharpness"]
    numbers = {"sharpness": value, "least sharpness": LEAST_SHARPNESS}
    passed = value >= LEAST_SHARPNESS
    sentence = f"Its sharpest tenth has {value:g}; under {LEAST_SHARPNESS:g} it is blurred."
    return QualityFinding(SHARP, passed, sentence, numbers=numbers)


def not_a_duplicate(
    measures: Mapping[str, Any], matches: Sequence[Match], others: int
) -> QualityFinding:
    """Whether no older image of another prompt is visually identical; ``others`` were compared."""
    numbers: dict[str, float | str] = {"compared with": others}
    if measures["phash"] is None:
        sentence = "Not compared: it is blank, and blank pictures are all alike (see not_blank)."
        return QualityFinding(NOT_A_DUPLICATE, True, sentence)
    if not matches:
        sentence = f"No older image of another prompt is identical, among {others:,} others."
        return QualityFinding(NOT_A_DUPLICATE, True, sentence, numbers=numbers)
    nearest = matches[0]
    names = ", ".join(match.key for match in matches[:LISTED])
    if len(matches) > LISTED:
        names += f" and {len(matches) - LISTED} more"
    numbers |= {"of": names, "distance": nearest.distance, "colour distance": nearest.tones}
    sentence = f"It is identical to the image of {names}: {nearest.words}."
    return QualityFinding(
        NOT_A_DUPLICATE, False, sentence, numbers=numbers, duplicates=matches[:LISTED]
    )


def neutral_border(measures: Mapping[str, Any]) -> QualityFinding:
    """Whether a base image has a neutral, even background."""
    chroma, spread = measures["border_chroma"], measures["border_spread"]
    faults = []
    if chroma > MOST_BORDER_CHROMA:
        faults.append("is colourful")
    if spread > MOST_BORDER_SPREAD:
        faults.append("is uneven")
    sentence = (
        f"Its border {' and '.join(faults) or 'is neutral and even'}: colour {chroma:g} (to "
        f"{MOST_BORDER_CHROMA:g}), spread {spread:g} (to {MOST_BORDER_SPREAD:g})."
    )
    numbers = {
        "border colour": chroma,
        "most colour": MOST_BORDER_CHROMA,
        "border spread": spread,
        "most spread": MOST_BORDER_SPREAD,
    }
    return QualityFinding(NEUTRAL_BORDER, not faults, sentence, numbers=numbers)


def portrait_shape(attempt: Attempt) -> QualityFinding:
    """Whether a base image is higher than wide."""
    width, height = attempt.width or 0, attempt.height or 0
    passed = height > width
    words = "higher than wide" if passed else "not higher than wide: feet may be cut off"
    numbers: dict[str, float | str] = {
        "size": f"{width}x{height}",
        "height to width": round(height / max(1, width), 3),
    }
    return QualityFinding(PORTRAIT_SHAPE, passed, f"{width}x{height} is {words}.", numbers=numbers)
