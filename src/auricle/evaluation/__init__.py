"""Evaluation: scores and targets become numbers, tables and pictures."""

from auricle.evaluation.agreement import Agreement, agree
from auricle.evaluation.compare import Comparison, compare
from auricle.evaluation.evaluate import Evaluation, Failure, evaluate, leave_out
from auricle.evaluation.metrics import classification_metrics, d_prime, wilson_interval
from auricle.evaluation.paired import Difference, paired_difference, smallest_difference
from auricle.evaluation.probe import Probe, ProbeConfig, probe
