"""A checkpoint and a sound become labels."""

from auricle.inference.classifier import Classifier
from auricle.inference.engine import Engine, TorchEngine, load_embedder
from auricle.inference.ensemble import Ensemble
from auricle.inference.names import builtin_names, check_distinct, load_model, resolve
from auricle.inference.ontology import Group
from auricle.inference.recognition import Prediction, Recognition, Segment
from auricle.inference.timeline import Timeline
