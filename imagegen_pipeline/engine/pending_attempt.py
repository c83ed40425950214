"""A request on its way to its service, and the attempt that the ledger has of it.

One that may leave at once is written down once, as leaving: each step that comes before costs its
place at the service a commit. One that has to wait for its turn, or cannot leave, is written down
as planned, so that it is seen.
"""

from __future__ import annotations

from collections.abc import Callable

from imagegen_pipeline.domain.requests import Attempt
from imagegen_pipeline.ledger.admission import AdmissionRules, Deferred
from imagegen_pipeline.ledger.attempts import AttemptRepository, NewAttempt


class PendingAttempt:
    """Of one thread. ``on_disk(folder, stem)`` says whether a file has that name already."""

    def __init__(
        self, book: AttemptRepository, plan: NewAttempt, on_disk: Callable[[str, str], bool]
    ) -> None:
        self.plan = plan
        self._attempts = book
        self._on_disk = on_disk
        self._attempt: Attempt | None = None

    def written(self) -> Attempt:
        """The attempt, in the ledger from now on."""
        if self._attempt is None:
            self._attempt = self._attempts.plan(self.plan, on_disk=self._on_disk)
        return self._attempt

    def leave(self, terms: AdmissionRules) -> Deferred | None:
        """Write down that the request leaves, if it may: from then on a picture may be billed.

        Raises what ``AttemptRepository.submitting`` does.
        """
        if self._attempt is None:
            answer = self._attempts.sending(self.plan, terms, on_disk=self._on_disk)
        else:
            answer = self._attempts.submitting(self._attempt, terms)
        if isinstance(answer, Deferred):
            return answer
        self._attempt = answer
        return None
