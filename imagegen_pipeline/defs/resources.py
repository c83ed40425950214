"""The Dagster resource: the pipeline of a process, which reads settings and keys itself."""

from typing import TYPE_CHECKING

import dagster as dg
from pydantic import PrivateAttr

if TYPE_CHECKING:
    from imagegen_pipeline.pipeline import Pipeline

    _OfPipeline = dg.ConfigurableResource[Pipeline]
else:  # the type that a resource provides is for the type checker alone
    _OfPipeline = dg.ConfigurableResource


class PipelineResource(_OfPipeline):
    """Sources, ledger and store, from the environment's settings."""

    _opened: "Pipeline | None" = PrivateAttr(default=None)

    def get(self) -> "Pipeline":
        """The pipeline of this process, opened when first asked for."""
        if self._opened is None:
            from imagegen_pipeline.pipeline import Pipeline

            self._opened = Pipeline()
        return self._opened

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002
        """Close what was opened, when the run or tick ends."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None
