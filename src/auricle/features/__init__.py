"""Waveforms to features: filterbank, statistics, masking and noise, on the model's device."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Tag

from auricle.config import discriminated_by_name
from auricle.features.augmentation import (
    FeatureNoise,
    FeatureNoiseConfig,
    SpecAugment,
    SpecAugmentConfig,
)
from auricle.features.filterbank import Filterbank, FilterbankConfig, PaddingConfig
from auricle.features.kinds import (
    CEDFilterbank,
    CEDFilterbankConfig,
    EfficientATConfig,
    EfficientATFilterbank,
    Fbank,
    FbankConfig,
)
from auricle.features.statistics import Statistics


@dataclass(frozen=True)
class FilterbankEntry:
    """The settings of a kind of filterbank and what builds it from them."""

    config: type[FilterbankConfig]
    build: Callable[[Any], Filterbank]


FILTERBANKS = {
    "fbank": FilterbankEntry(FbankConfig, Fbank),
    "efficientat": FilterbankEntry(EfficientATConfig, EfficientATFilterbank),
    "ced": FilterbankEntry(CEDFilterbankConfig, CEDFilterbank),
}

AnyFilterbankConfig = Annotated[
    Annotated[FbankConfig, Tag("fbank")]
    | Annotated[EfficientATConfig, Tag("efficientat")]
    | Annotated[CEDFilterbankConfig, Tag("ced")],
    discriminated_by_name("fbank"),
]


def build(config: FilterbankConfig) -> Filterbank:
    """The filterbank of the kind that `config` names."""
    return FILTERBANKS[config.name].build(config)
