"""Sample captures: a small office, the week of its update traffic, and every sin that the rules know."""

from sensor.samples.office import STORIES, Story, build, truth
from sensor.samples.pages import POLICY, write_all, write_office
from sensor.samples.truth import Finding, FlowTruth, Truth

__all__ = [
    "POLICY",
    "STORIES",
    "Finding",
    "FlowTruth",
    "Story",
    "Truth",
    "build",
    "truth",
    "write_all",
    "write_office",
]
