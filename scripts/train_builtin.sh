#!/usr/bin/env bash
# Make the built-in models anew, from the data to the folders in src/auricle/builtin.
#
#   scripts/train_builtin.sh [STAGE ...]     all in order: speech sounds distil keywords esc10 ship
#
# DATA     folder with esc10/ and speech_commands_12/   (../shared/data)
# TEACHER  folder of the AudioSet tagger               (../shared/teacher)
# WORK     where sounds and runs go, about 10 GB       (runs/builtin)
# FOLDS    of ESC-10, "all" is the shipped model       (1 2 3 4 5 all)
set -euo pipefail
cd "$(dirname "$0")/.."
DATA=${DATA:-../shared/data} TEACHER=${TEACHER:-../shared/teacher} WORK=${WORK:-runs/builtin}
FOLDS=${FOLDS:-1 2 3 4 5 all}
python=.venv/bin/python auricle=.venv/bin/auricle
mkdir -p "$WORK"

speech() {  # synthetic keywords; the engines that are missing are named
  $python scripts/synthesise_speech.py "$WORK/speech" --clips 2500
  $python scripts/synthesise_speech.py "$WORK/speech_1" --clips 1500 --seed 1
}

hear() {  # what the teacher says of the clips of a manifest
  $python scripts/teacher_targets.py "$1" "$(dirname "$1")/teacher.safetensors" \
    --teacher "$TEACHER" --temperature 4 "${@:2}"
}

sounds() {  # recorded sound of free packages
  $python scripts/collect_sounds.py "$WORK/sounds" --not-like "$DATA/esc10/audio"
  hear "$WORK/sounds/manifest.csv"
}

distil() {  # a student of the teacher, which has heard no clip of ESC-50
  SOUNDS="$WORK/sounds/manifest.csv" $auricle train builtin_sounds --out "$WORK/run_sounds" --overwrite
}

keywords() {
  $auricle prepare speech_commands_12 "$DATA/speech_commands_12" --out "$WORK/sc12.csv"
  $python scripts/join_manifests.py "$WORK/keywords.csv" "$WORK/sc12.csv" \
    "$WORK"/speech*/manifest.csv
  KEYWORDS="$WORK/keywords.csv" $auricle train builtin_keywords --out "$WORK/run_keywords" --overwrite
  for split in validation test; do
    $auricle evaluate "$WORK/run_keywords/best" --data "$WORK/sc12.csv" --split $split \
      --out "$WORK/evaluation/keywords_$split"
    $auricle evaluate "$WORK/run_keywords/best" --data "$WORK/sc12.csv" --split $split \
      --without _silence_ --out "$WORK/evaluation/keywords_${split}_words"
  done
}

esc10() {  # five folds for the score (the last epoch, nothing chosen on test clips), then all clips
  mkdir -p "$WORK/esc10"
  $auricle prepare esc50 "$DATA/esc10" --out "$WORK/esc10/manifest.csv"
  if [ ! -e "$WORK/esc10/teacher.safetensors" ]; then
    cp "$WORK/esc10/manifest.csv" "$WORK/esc10/heard.csv"
    hear "$WORK/esc10/heard.csv"
  fi
  for fold in $FOLDS; do train_fold "$fold"; done
}

train_fold() {  # first what the teacher hears in the training folds, then their labels
  local fold=$1 heard="$WORK/esc10/heard_not_$1.csv" chosen=(--not-fold "$1") left_out=$1
  if [ "$fold" = all ]; then chosen=() left_out=null; fi
  $python scripts/heard_by_teacher.py "$WORK/esc10/heard.csv" "$heard" "${chosen[@]}"
  SOUNDS=$heard $auricle train builtin_sounds --out "$WORK/run_heard_$fold" --overwrite \
    initial_weights="$WORK/run_sounds/last" front_end.statistics=initial training.epochs=30 \
    training.batch_size=32 training.optimizer.learning_rate=5e-4
  ESC10="$WORK/esc10/manifest.csv" START="$WORK/run_heard_$fold/last" \
    $auricle train builtin_esc10 data.fold="$left_out" --out "$WORK/run_esc10_$fold" --overwrite
  if [ "$fold" != all ]; then
    $auricle evaluate "$WORK/run_esc10_$fold/last" --data "$WORK/esc10/manifest.csv" --fold "$fold" \
      --out "$WORK/evaluation/esc10_$fold"
  fi
}

ship() {  # 16-bit weights and a card with the scores above
  $python scripts/ship_builtin.py --work "$WORK" esc10 keywords
}

if [ $# = 0 ]; then set -- speech sounds distil keywords esc10 ship; fi
for stage in "$@"; do $stage; done
