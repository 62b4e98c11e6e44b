#!/usr/bin/env bash
# HAM's table 3 at a size that two CPU cores can repeat: docs/results/ham.md says what came of it.
#
#   scripts/run_ablations.sh [STAGE ...]     all in order: starts words sounds scratch
#
# Each stage goes on where it was stopped. Two calls of one stage at once share its runs.
#
# DATA     folder with esc10/ and speech_commands_12/            (../shared/data)
# BUILTIN  the WORK folder of scripts/train_builtin.sh: its sounds and synthetic speech  (runs/builtin)
# WORK     where the runs go                                     (runs/ablations)
set -euo pipefail
cd "$(dirname "$0")/.."
DATA=${DATA:-../shared/data} BUILTIN=${BUILTIN:-runs/builtin} WORK=${WORK:-runs/ablations}
TEACHER=${TEACHER:-../shared/teacher}
python=.venv/bin/python auricle=.venv/bin/auricle
mkdir -p "$WORK"
export ESC10="$WORK/esc10.csv" SC12="$WORK/sc12.csv" OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

manifests() {
  $auricle prepare esc10 "$DATA/esc10" --out "$ESC10"
  $auricle prepare speech_commands_12 "$DATA/speech_commands_12" --out "$SC12"
}

starts() {  # an AST without Conformers, distilled on sounds; for words, then taught synthetic words
  local model='width: 128, depth: 4, num_heads: 4, num_prefix_tokens: 1, readout: patch_mean'
  local plain="mixup.rate=0 augmentation.gain_db=3 masking.frequency_mask=8 masking.time_mask=16
    training.batch_size=32"
  cp "$BUILTIN/sounds/manifest.csv" "$BUILTIN/sounds/standardised.csv"
  $python scripts/teacher_targets.py "$BUILTIN/sounds/standardised.csv" \
    "$BUILTIN/sounds/standardised.safetensors" --teacher "$TEACHER" --standardise
  export SOUNDS="$BUILTIN/sounds/standardised.csv"
  # shellcheck disable=SC2086 # several words
  $auricle train builtin_sounds $plain training.epochs=10 --out "$WORK/start_sounds" --overwrite \
    "model={name: ast, $model, max_frames: 504, patch: [128, 8], stride: [128, 8]}"
  # shellcheck disable=SC2086
  $auricle train builtin_sounds $plain training.epochs=5 --out "$WORK/start_heard" --overwrite \
    "model={name: ast, $model, max_frames: 504, patch: [128, 4], stride: [128, 4]}" \
    front_end.padding.frames=4 data.crop_seconds=2
  $python scripts/join_manifests.py "$WORK/synthetic.csv" "$BUILTIN"/speech*/manifest.csv
  KEYWORDS="$WORK/synthetic.csv" $auricle train builtin_keywords --out "$WORK/start_words" --overwrite \
    "model={name: ast, $model, max_frames: 100, patch: [128, 4], stride: [128, 4]}" \
    initial_weights="$WORK/start_heard/last" front_end.statistics=initial \
    data.train_split=null data.validation_split=null training.epochs=20
}

words() { START="$WORK/start_words/last" $auricle ablate sc12_ham --out "$WORK/sc12_ham"; }
sounds() { START="$WORK/start_sounds/last" $auricle ablate esc10_ham --out "$WORK/esc10_ham"; }
scratch() { START='' $auricle ablate sc12_ham_scratch --out "$WORK/sc12_ham_scratch"; }

if [ $# = 0 ]; then set -- starts words sounds scratch; fi
manifests
for stage in "$@"; do $stage; done
