"""What the tests of the sources look at alike."""

from imagegen_pipeline.domain.actors import ActorScan
from imagegen_pipeline.domain.prompts import PromptScan, SourceProblem


def only_problem(scan: PromptScan | ActorScan) -> SourceProblem:
    """The one problem of a scan: one line, with a sentence and a remedy, that can be stored."""
    (problem,) = scan.problems
    assert problem.container == scan.container
    assert problem.message.endswith(".")
    assert problem.remedy
    assert problem.location in problem.line
    assert len(problem.line.splitlines()) == 1
    problem.line.encode()
    return problem


def is_unread(scan: PromptScan | ActorScan) -> bool:
    """Whether the container itself could not be read, so that nothing may be called gone."""
    source_items = scan.prompts if isinstance(scan, PromptScan) else scan.actors
    return not scan.complete and not source_items
