"""Applies ``domain.image.quality_rules`` to stored images, with the ledger and the files."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from imagegen_pipeline.domain.errors import LedgerError, NotAPictureError, UnreadableError
from imagegen_pipeline.domain.image import quality_rules
from imagegen_pipeline.domain.image.decode import decode_picture
from imagegen_pipeline.domain.image.duplicate_detection import DuplicateIndex, likeness
from imagegen_pipeline.domain.image.metrics import MEASURED_BY
from imagegen_pipeline.domain.image.quality_rules import QualityFinding
from imagegen_pipeline.domain.requests import Attempt, Outcome, Status
from imagegen_pipeline.engine.context import EngineContext

_log = logging.getLogger(__name__)
_FRESH_SECONDS = 600.0
"""Seconds until images that other processes generate are read from the ledger."""


class PictureSighting(StrEnum):
    """What the caller knows of the image's file."""

    DECODED = "decoded"
    COMPARED = "compared"
    NOTHING = "nothing"

    @classmethod
    def by_engine(cls, outcome: Outcome) -> PictureSighting:
        """What a batch knows of the file of an outcome."""
        return cls.COMPARED if outcome.status is Status.REUSED else cls.DECODED


_PROOFS = {
    PictureSighting.DECODED: "It was decoded whole when it was stored, in this run.",
    PictureSighting.COMPARED: "Its file has the bytes that were decoded at storage time (SHA-256).",
}


class QualityChecker:
    """Checks images one by one; knows all current images, to find duplicates. Not thread-safe.

    The ledger is read at the first image and every ten minutes; images checked here are known at
    once.
    """

    def __init__(self, context: EngineContext) -> None:
        self._ctx = context
        self._known: DuplicateIndex | None = None
        self._known_at = 0.0

    def expect(self, attempts: Sequence[Attempt]) -> None:
        """Register these images, which are checked next, as their items' current ones."""
        now = self._ctx.clock.monotonic()
        if self._known is None or now - self._known_at > _FRESH_SECONDS:
            self._known_at = now
            self._known = DuplicateIndex(self._ctx.ledger.attempts.likenesses())
        for attempt in attempts:
            self._know(attempt, attempt.measures)

    def _know(self, attempt: Attempt, measures: Mapping[str, Any] | None) -> None:
        one = likeness(attempt, measures)
        if one is not None and self._known is not None:
            self._known.put(one)

    def findings(self, attempt: Attempt, seen: PictureSighting) -> list[QualityFinding]:
        """The findings of all checks of a stored image; those for base images only for base
        images.
        """
        self.expect([attempt])
        found = [self._decodes(attempt, seen), quality_rules.asked_size(attempt)]
        measures, fault = self._measures(attempt)
        by_measures = [quality_rules.not_blank, quality_rules.sharp]
        if attempt.kind == "actor":
            found.append(quality_rules.portrait_shape(attempt))
            by_measures.append(quality_rules.neutral_border)
        if measures is None:
            return [
                *found,
                *quality_rules.unmeasured_findings(fault, base_image=attempt.kind == "actor"),
            ]
        found += [rule(measures) for rule in by_measures]
        return [*found, self._not_a_duplicate(attempt, measures)]

    def _decodes(self, attempt: Attempt, seen: PictureSighting) -> QualityFinding:
        if seen is not PictureSighting.NOTHING:
            return quality_rules.picture_decodes(_PROOFS[seen])
        file = self._ctx.store.absolute(attempt.path or "")
        try:
            if self._ctx.store.matches(attempt.path or "", attempt.digest or ""):
                return quality_rules.picture_decodes(_PROOFS[PictureSighting.COMPARED])
        except UnreadableError as error:
            return quality_rules.picture_decodes(fault=str(error))
        what = "has other bytes than were stored" if file.is_file() else "is not there any more"
        return quality_rules.picture_decodes(fault=f"{file} {what}.")

    def _measures(self, attempt: Attempt) -> tuple[Mapping[str, Any] | None, str]:
        """The metrics in the ledger, or those of the file, which are then recorded; else None and
        the reason.
        """
        known = attempt.measures
        if known is not None and known.get("measured_by") == MEASURED_BY:
            return known, ""
        file = self._ctx.store.absolute(attempt.path or "")
        try:
            measures = decode_picture(file.read_bytes()).measures
        except OSError as error:
            return None, f"{file} cannot be read: {error.strerror or error}."
        except NotAPictureError as error:
            return None, f"{file}: {error}"
        if measures is None:
            return None, f"{file} could not be measured; the log says why."
        self._know(attempt, measures)
        try:
            self._ctx.ledger.attempts.measured(attempt.id, measures)
        except LedgerError as error:  # it is measured again by the next check
            _log.warning("%s: the measures could not be kept: %s", attempt.item_key, error)
        return measures, ""

    def _not_a_duplicate(self, attempt: Attempt, measures: Mapping[str, Any]) -> QualityFinding:
        one = likeness(attempt, measures)
        known = self._known or DuplicateIndex()
        matches = known.older(one) if one is not None else []
        return quality_rules.not_a_duplicate(measures, matches, max(0, len(known) - 1))
