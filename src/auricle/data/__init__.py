"""Data: manifests of clips to batches of waveforms and targets."""

from auricle.data.augmentation import Augmentation, AugmentationConfig
from auricle.data.batching import (
    Batch,
    ClipDataset,
    Fault,
    PartneredDataset,
    Partners,
    collate,
    collate_with_partners,
)
from auricle.data.check import durations
from auricle.data.clips import Clip, Span
from auricle.data.fingerprint import TRAINED_ON, fingerprints, trained_on
from auricle.data.manifest import Manifest, check_labels, leaks, read, write
from auricle.data.mixing import LabelledMixupConfig, Mixup, MixupConfig, Overlap, OverlapConfig
from auricle.data.reading import TEST, TRAIN, VALIDATION, split_name
from auricle.data.resampling import Resampler
from auricle.data.soft_targets import save_soft_targets
from auricle.data.splitting import draw_from_each, split_by_group, warn_of_untrained
from auricle.data.statistics import measure_statistics
